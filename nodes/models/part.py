"""One part of a model as it lies somewhere: class, configuration, and the files that decide what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphcore import runtime
from nodes.models.handles import canonical, text_digest

WITHOUT_MEANING = (
    "_class_name", "_diffusers_version", "_name_or_path", "architectures", "transformers_version", "torch_dtype",
    "dtype",
)  # fmt: skip
"""Settings that say where a configuration comes from, not what the part computes."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part lies and what it is.

    Args:
        source: Folder of the part, or a checkpoint file; for random weights, the model's name and the part's.
        layout: `folder`, `single_file` or `random`.
        files: Weights or token files; nothing for random weights.
    """

    source: str
    class_name: str
    config: Mapping[str, Any]
    files: tuple[Path, ...] = ()
    layout: str = "folder"
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Its configuration with what was set elsewhere."""
        return {**self.config, **self.more}

    def digest(self) -> str:
        """Content digest: equal for equal configurations and files, wherever they lie; each file is hashed once."""
        here = runtime()
        config = {name: value for name, value in self.config.items() if name not in WITHOUT_MEANING}
        lines = [self.class_name, canonical(config)]
        if self.layout == "random":
            lines.append(self.source)
        lines += [f"{file.name} {here.digest(file)}" for file in self.files]
        digest = text_digest(lines)
        _places[digest] = self.source
        return digest


_places: dict[str, str] = {}


def place(digest: str) -> str | None:
    """The source in which the content of a part was last seen."""
    return _places.get(digest)
