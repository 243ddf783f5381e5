"""Files that come with the library: workflows and the embedded model."""

from __future__ import annotations

import textwrap
from pathlib import Path

from graphcore import StepgraphError

BUILTIN = "builtin:"
"""Paths that start so name an embedded model."""

_HERE = Path(__file__).parent


def workflow_folder() -> Path:
    """The folder of the shipped workflows: beside this file in an installed package, above it in a checkout."""
    installed = _HERE / "workflows"
    return installed if installed.is_dir() else _HERE.parent / "workflows"


def model_folder(name: str) -> Path:
    """The folder of an embedded model, such as `emoji`.

    Raises:
        StepgraphError: there is none of this name.
    """
    names = model_names()
    if name not in names:
        known = ", ".join(f"`{BUILTIN}{known}`" for known in names)
        raise StepgraphError(f"there is no embedded model {name!r} ({known})")
    return _HERE / "builtin" / name


def model_names() -> list[str]:
    """Names of the embedded models."""
    return sorted(folder.name for folder in (_HERE / "builtin").iterdir() if (folder / "model_index.json").is_file())


def help_text() -> str:
    """What the embedded models can draw and how to use another model, for `stepgraph run --help`."""
    return "\n\n".join([*map(_drawable, model_names()), CHECKPOINT])


CHECKPOINT = """\
To use a Stable Diffusion checkpoint instead, point `model` at its folder in the diffusers layout (safetensors files):
  stepgraph run txt2img --set model=/path/to/checkpoint --set guidance_scale=7.5 --set prompt="a lighthouse at dusk\""""


def _drawable(name: str) -> str:
    """The things in an embedded model's vocabulary.txt, with prompts that show how they combine."""
    file = model_folder(name) / "vocabulary.txt"
    if not file.is_file():
        return f"The embedded model {BUILTIN}{name} takes any prompt."
    things = [line.replace("|", " or ") for line in file.read_text(encoding="utf-8").splitlines() if line]
    listed = textwrap.fill(", ".join(things), 110, initial_indent="  ", subsequent_indent="  ")
    return f"""\
The embedded model ({BUILTIN}{name}) knows {len(things)} things:
{listed}
big or small, one or two of them, in a place, on a background colour:
  "a cat", "a small owl on the left", "a pizza, blue background", "a fox next to a rabbit on green"
A prompt with other words runs too; a note names the words that the model has never seen."""
