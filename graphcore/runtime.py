"""What a node may know about the run it is part of: device, dtype, folders, provenance; and how it speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphcore.errors import StepgraphError


@dataclass(frozen=True)
class Runtime:
    """The surroundings of a run.

    Args:
        device: Where models run: `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: Floating-point type of models: `float32`, `float16`, `bfloat16`.
        roots: Folders that nodes may read from; None allows every folder (tests, the Python API).
        out: The folder that nodes may write to; None: nothing may be written.
        base: Folder against which relative paths are resolved (that of the workflow file).
        provenance: What made the values of this run (workflow, inputs, keys, versions), for files that record it.
        pretended: None in a real run. In a deep check (tensors without content) a place for modules that are built
            from their configuration alone; a node that looks at the content of a tensor leaves that out.
    """

    device: str = "cpu"
    dtype: str = "float32"
    roots: tuple[Path, ...] | None = None
    out: Path | None = None
    base: Path = field(default_factory=Path.cwd)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    pretended: dict[Any, Any] | None = None

    def readable(self, path: str | Path) -> Path:
        """The real path of a file or folder to read; refuses what lies outside `roots` (symbolic links resolved).

        A relative path is looked for in `base`, in the current folder, then in each of `roots`.
        """
        wanted = Path(path).expanduser()
        search = (self.base, Path.cwd(), *(self.roots or ()))
        places = [wanted] if wanted.is_absolute() else [folder / wanted for folder in search]
        real = next((place for place in places if place.exists()), places[0]).resolve()
        if self.roots is not None and not any(real.is_relative_to(root.resolve()) for root in self.roots):
            folders = ", ".join(str(root) for root in self.roots)
            raise StepgraphError(
                f"{str(path)!r} lies outside the folders that this run may read ({folders}); "
                "give the path with --set, or allow its folder with --root"
            )
        return real

    def digest(self, path: str | Path) -> str:
        """Content digest of a file, or of the files of a folder; each is read once, then remembered.

        What a `fingerprint` hook returns for a path that `readable` gave: the same for the same content, whatever
        its name.
        """
        from graphcore import content  # only nodes that read files need it

        return content.digest(path)

    def on_low_memory(self, free: Callable[[], int]) -> None:
        """Register a function that frees what can be had again (idle weights, say) and returns the bytes freed."""
        _relief.append(free)

    def writable(self, name: str | Path) -> Path:
        """The path of a file to write below `out`; refuses to leave it."""
        if self.out is None:
            raise StepgraphError(f"cannot write {str(name)!r}: this run has no output folder; give one with --out")
        real = (self.out / name).resolve()
        if not real.is_relative_to(self.out.resolve()):
            raise StepgraphError(f"{str(name)!r} leaves the output folder {self.out}; use a name without `..`")
        return real


_runtime: ContextVar[Runtime] = ContextVar("stepgraph_runtime")
_notes: ContextVar[Callable[[str], None]] = ContextVar("stepgraph_notes")
_relief: list[Callable[[], int]] = []


def runtime() -> Runtime:
    """The surroundings of the node that runs now (defaults outside of a run)."""
    return _runtime.get(None) or Runtime()


def relieve_memory() -> int:
    """Free what can be had again; returns bytes."""
    return sum(free() for free in _relief)


def note(message: str) -> None:
    """Tell the person who runs the workflow something: it becomes a `note` event, also when the value is cached."""
    if speak := _notes.get(None):
        speak(message)
