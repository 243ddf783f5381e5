"""A small safetensors file that changes a model (LoRA, textual inversion, IP-Adapter): its header, content, digest."""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphcore import InputError, StepgraphError, runtime
from nodes.models.files import model_folder, safetensors_header
from nodes.models.handles import text_digest
from nodes.models.random_models import RANDOM

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
"""Names and shapes of the tensors in a file."""


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A file of weights by its header.

    Args:
        source: Its path, or `random:NAME`.
        shapes: Of its tensors.
        beside: Files whose content counts too, such as peft's `adapter_config.json`.
    """

    source: str
    shapes: Shapes
    beside: tuple[Path, ...] = ()

    @property
    def stem(self) -> str:
        """The name of the file without folder and ending."""
        return Path(self.source.removeprefix(RANDOM)).stem

    def digest(self) -> str:
        """Content digest: equal for equal content, wherever it lies."""
        if self.source.startswith(RANDOM):
            return text_digest([self.source, *(f"{name} {shape}" for name, shape in self.shapes.items())])
        here = runtime()
        return text_digest([here.digest(self.source), *(f"{file.name} {here.digest(file)}" for file in self.beside)])


def read(path: str, what: str, random: Mapping[str, Callable[[], Shapes]], beside: str = "") -> AdapterFile:
    """The header of a file; nothing else of it is read.

    Args:
        path: A .safetensors file, a folder that holds just one, or `random:NAME`.
        what: What it is to be, such as `a LoRA`.
        random: Shapes of the tensors of each file with random weights, by its name.
        beside: Name of a file in the same folder that counts too, where there is one.

    Raises:
        InputError: there is no such file, it is a pickle, or damaged.
    """
    if path.startswith(RANDOM):
        name = path.removeprefix(RANDOM)
        if name not in random:
            raise InputError("path", expected=f"one of {', '.join(random)} after `{RANDOM}`", got=repr(name))
        return AdapterFile(path, random[name]())
    file = _file(path, what)
    try:
        shapes = {name: tuple(shape) for name, shape in safetensors_header.tensor_shapes(file).items()}
    except (OSError, ValueError) as error:
        raise InputError(
            "path", expected=f"{what}, a whole .safetensors file", got=f"{path!r}: {error}", fix="copy this file anew"
        ) from error
    extra = (file.parent / beside,) if beside and (file.parent / beside).is_file() else ()
    return AdapterFile(str(file), shapes, extra)


def tensors(file: AdapterFile, digest: str, *, content: bool = True) -> dict[str, torch.Tensor]:
    """What the file holds, on the CPU.

    Args:
        digest: Its content as it was when the workflow was started; empty where nobody looked.
        content: False gives zeros of the same shapes, for modules that have no content either.

    Raises:
        StepgraphError: the content is another one by now.
    """
    import torch
    from safetensors.torch import load_file

    if not content:
        return {name: torch.zeros(shape) for name, shape in file.shapes.items()}
    if digest and file.digest() != digest:
        raise StepgraphError(f"the file {file.source} changed while the workflow ran; run it again")
    if not file.source.startswith(RANDOM):
        loaded: dict[str, torch.Tensor] = load_file(file.source, device="cpu")
        return loaded
    return {name: _random(f"{file.source}/{name}", shape) for name, shape in file.shapes.items()}


def _random(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Small numbers that depend on the name alone; the single number of a LoRA's `alpha` is 2."""
    import torch

    if not shape:
        return torch.tensor(2.0)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator) * 0.3


def _file(path: str, what: str) -> Path:
    file = runtime().readable(path)
    if file.is_dir():
        found = sorted(file.glob("*.safetensors"))
        if len(found) != 1:
            inside = ", ".join(sorted(place.name for place in file.iterdir())[:8]) or "nothing"
            raise InputError(
                "path", expected=f"{what}: a .safetensors file, or a folder with just one",
                got=f"a folder with {inside}", fix="give the path of the file",
            )  # fmt: skip
        file = runtime().readable(found[0])
    if not file.is_file():
        got = f"{path!r}, which does not exist"
        raise InputError("path", expected=f"{what}, a .safetensors file", got=got, fix="check the path")
    if file.suffix != ".safetensors":
        raise InputError("path", expected=f"{what}, a .safetensors file", got=repr(path), fix=_help(file))
    return file


def _help(file: Path) -> str:
    if file.suffix not in model_folder.PICKLES:
        return ""
    new = shlex.quote(file.with_suffix(".safetensors").name)
    return (
        "pickled weights are never opened, they can run code; get the .safetensors file, or convert it once (this "
        f"reads nothing but tensors): {model_folder.CONVERT} {shlex.quote(file.name)} {new}"
    )
