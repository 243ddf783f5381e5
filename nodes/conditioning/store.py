"""Conditionings in files: safetensors, so that reading one runs nobody's code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.models import unet_inputs
from nodes.types import Conditioning, Region

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
MARK = "stepgraph.conditioning"
"""The one key of the metadata (with several, safetensors would write them in any order): `version` and `regions`."""
VERSION = 1
HELP = "give a file that `save_conditioning` wrote"

Description = Mapping[str, Any]
"""What the metadata say of a region: `start`, `end`, `weight`."""


@node(category="conditioning", pure=False)
def save_conditioning(
    conditioning: Conditioning, name: Annotated[str, Field(min_length=1, max_length=200)] = "conditioning"
) -> str:
    """Write a conditioning as NAME.safetensors below the output folder; `load_conditioning` reads it.

    Args:
        conditioning: With its regions, whatever it holds.
        name: May hold folders, as in `prompts/cat`.

    Returns:
        The path of the file.
    """
    from safetensors.torch import save_file

    path = runtime().writable(name.removesuffix(SUFFIX) + SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    described = [{"start": r.start, "end": r.end, "weight": r.weight} for r in conditioning.regions]
    save_file(_tensors(conditioning), path, {MARK: json.dumps({"version": VERSION, "regions": described})})
    return str(path)


def fingerprint(path: Path) -> str:
    """The content of the file."""
    return runtime().digest(_file(path))


def infer(path: Path | None = None) -> Conditioning | None:
    """Shapes stand in the file's header."""
    return None if path is None else _read(_file(path), content=False)


@node(category="conditioning", fingerprint=fingerprint, infer=infer)
def load_conditioning(path: Path) -> Conditioning:
    """A conditioning from a file that `save_conditioning` wrote; only safetensors files are read.

    Args:
        path: The file; a relative path is looked for beside the workflow, then in the current folder.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    loaded = _read(_file(path), content=True)
    device = runtime().device
    return _moved(loaded, device) if device != "cpu" else loaded


def _file(path: Path) -> Path:
    found = runtime().readable(path)
    if not found.is_file():
        what = "a folder" if found.is_dir() else "no such file"
        raise InputError("path", expected="a conditioning file", got=f"{str(path)!r} ({what})", fix=HELP)
    if found.suffix != SUFFIX:
        raise InputError("path", expected=f"a {SUFFIX} file", got=repr(found.name), fix=HELP)
    return found


def _tensors(conditioning: Conditioning) -> dict[str, Tensor]:
    """The tensors of a conditioning and of its regions by name; each with its own memory, on the CPU."""
    found = {name: _own(tensor) for name, tensor in unet_inputs.tensors(conditioning).items()}
    for index, region in enumerate(conditioning.regions):
        if region.mask is not None:
            found[f"regions[{index}].mask"] = _own(region.mask)
        found |= {f"regions[{index}].{name}": tensor for name, tensor in _tensors(region.conditioning).items()}
    return found


def _own(tensor: Tensor) -> Tensor:
    """Safetensors refuses tensors that share memory."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _read(path: Path, *, content: bool) -> Conditioning:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt" if content else "np") as opened:  # "pt" loads torch
            metadata = opened.metadata() or {}
            tensors = {name: _value(opened, name, content=content) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, f"it cannot be read: {error}") from error
    return _conditioning(path, tensors, _regions(path, metadata.get(MARK)))


def _value(opened: Any, name: str, *, content: bool) -> Any:
    if content:
        return opened.get_tensor(name)
    part = opened.get_slice(name)
    return TensorSpec(tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), "float32"))


_DTYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I32": "int32", "I64": "int64",
    "BOOL": "bool",
}  # fmt: skip
"""Names of types in safetensors' headers."""


def _damaged(path: Path, what: str) -> InputError:
    return InputError("path", expected="a conditioning file", got=f"{path.name!r}: {what}", fix=HELP)


def _regions(path: Path, mark: str | None) -> list[Description]:
    try:
        told = json.loads(mark or "{}")
        if not isinstance(told, dict) or told.get("version") != VERSION:
            raise _damaged(path, "a safetensors file of something else")
        described = told["regions"]
        for one in described:
            if not (
                one.keys() == {"start", "end", "weight"} and 0 <= one["start"] < one["end"] <= 1 and one["weight"] > 0
            ):
                raise _damaged(path, f"a region without meaning, {one!r}")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise _damaged(path, f"its regions cannot be read: {error!r}") from error
    return list(described)


def _conditioning(path: Path, tensors: Mapping[str, Any], described: list[Description]) -> Conditioning:
    left = dict(tensors)
    regions = []
    for index, one in enumerate(described):
        start = f"regions[{index}]."
        own = {name.removeprefix(start): left.pop(name) for name in list(left) if name.startswith(start)}
        mask = own.pop("mask", None)
        regions.append(Region(_plain(path, own), mask, one["start"], one["end"], one["weight"]))
    return Conditioning(**_fields(path, left), regions=tuple(regions))


def _plain(path: Path, tensors: Mapping[str, Any]) -> Conditioning:
    return Conditioning(**_fields(path, tensors))


def _fields(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors by the names of a conditioning's fields; `residuals[2]` is the third of `residuals`."""
    found: dict[str, Any] = {name: tensor for name, tensor in tensors.items() if name in unet_inputs.FIELDS}
    for name in unet_inputs.SEVERAL:
        count = sum(key.startswith(f"{name}[") for key in tensors)
        wanted = [f"{name}[{index}]" for index in range(count)]
        if count and all(key in tensors for key in wanted):
            found[name] = tuple(tensors[key] for key in wanted)
    expected = {key for key in tensors if key in unet_inputs.FIELDS or key.split("[")[0] in found}
    if strangers := sorted(set(tensors) - expected):
        raise _damaged(path, f"unknown parts, {', '.join(strangers[:3])}")
    return found


def _moved(conditioning: Conditioning, device: str) -> Conditioning:
    """The conditioning on another device; masks stay on the CPU."""
    plain = {name: getattr(conditioning, name) for name in unet_inputs.FIELDS}
    fields: dict[str, Any] = {name: tensor.to(device) for name, tensor in plain.items() if tensor is not None}
    for name in unet_inputs.SEVERAL:
        if (several := getattr(conditioning, name)) is not None:
            fields[name] = tuple(tensor.to(device) for tensor in several)
    regions = tuple(
        Region(_moved(r.conditioning, device), r.mask, r.start, r.end, r.weight) for r in conditioning.regions
    )
    return Conditioning(**fields, regions=regions)
