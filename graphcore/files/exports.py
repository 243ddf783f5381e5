"""Writing a run's outputs to files: each under its name, by type, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphcore.errors import StepgraphError


def write(values: Mapping[str, Any], out: Path, provenance: Mapping[str, Any], types: Mapping[str, type]) -> list[Path]:
    """Write every output below `out`; returns the files in order.

    A value whose class has `export` writes itself; values with tensors become `NAME.safetensors`, plain ones
    `NAME.json`. Files are made in a folder aside and moved when they are whole: what was there before is replaced,
    never cut short.

    Raises:
        StepgraphError: a value that no file can hold (the others are written), or a folder that takes no more.
    """
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    refused: list[str] = []
    aside = Path(tempfile.mkdtemp(prefix=".stepgraph-", dir=out))
    try:
        for name, value in values.items():
            try:
                written += [_move(made, aside, out) for made in export(value, aside / _safe(name), provenance, types)]
            except UnwritableError as error:
                refused.append(f"output `{name}`: {error}")
            except OSError as error:
                raise StepgraphError(f"output `{name}` in {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if refused:
        raise StepgraphError("; ".join(refused) + (f"; written: {_list(written)}" if written else ""))
    return written


class UnwritableError(StepgraphError):
    """A value that no file can hold."""


def export(value: Any, stem: Path, provenance: Mapping[str, Any], types: Mapping[str, type]) -> list[Path]:
    """The files of one value; `stem` is their path without suffix."""
    if hasattr(type(value), "export"):
        return [Path(path) for path in value.export(stem, provenance)]
    if isinstance(value, (list, tuple)) and value and all(hasattr(type(item), "export") for item in value):
        digits = max(2, len(str(len(value) - 1)))
        stems = [stem.with_name(f"{stem.name}_{number:0{digits}d}") for number in range(len(value))]
        return [file for item, one in zip(value, stems, strict=True) for file in export(item, one, provenance, types)]
    if _is_plain(value):
        return [_write_json(value, stem)]
    return [_write_tensors(value, stem, types)]


def _is_plain(value: Any) -> bool:
    """Whether JSON holds the value; decided without looking into tensors, which must not be imported for it."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (str, int, float, Path))


def _write_json(value: Any, stem: Path) -> Path:
    from pydantic_core import to_json

    path = stem.with_name(f"{stem.name}.json")
    path.write_bytes(to_json(value, indent=2, inf_nan_mode="strings") + b"\n")
    return path


def _write_tensors(value: Any, stem: Path, types: Mapping[str, type]) -> Path:
    """Safetensors, or JSON where there is no tensor in the value.

    Tensors are named as in the value (`samples`, `generators.states`). The header's metadata says how to build the
    value again: `stepgraph` is the text for `codec.unpack`, `tensors` maps the names in it to those in the file.
    """
    from graphcore.values import codec, tensors

    try:
        structure, packed = codec.pack(value, types)
    except codec.Unstorable as error:
        raise UnwritableError(f"cannot be written to a file: {error}") from error
    if not packed:
        return _write_json(value, stem)
    names = _names(value, packed)
    metadata = {"stepgraph": structure, "tensors": json.dumps(names)}
    path = stem.with_name(f"{stem.name}.safetensors")
    path.write_bytes(tensors.serialise({names[name]: tensor for name, tensor in packed.items()}, metadata))
    return path


def _names(value: Any, packed: Mapping[str, Any]) -> dict[str, str]:
    """A name that says where a tensor stands in the value, for each name that `codec.pack` gave."""
    places = {id(item): place for place, item in reversed(list(_walk(value, "")))}
    names = {name: places.get(id(tensor), name) or "value" for name, tensor in packed.items()}
    return names if len(set(names.values())) == len(names) else {name: name for name in packed}


def _walk(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Everything in a value, with its place."""
    yield place, value
    inner: Iterable[tuple[Any, Any]] = ()
    if dataclasses.is_dataclass(value):
        inner = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    elif isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, (list, tuple)):
        inner = zip(getattr(value, "_fields", range(len(value))), value, strict=True)
    for name, item in inner:
        yield from _walk(item, f"{place}.{name}" if place else str(name))


def _safe(name: str) -> str:
    if Path(name).name != name or name.startswith("."):
        raise UnwritableError(f"{name!r} is no file name; rename the output")
    return name


def _move(made: Path, aside: Path, out: Path) -> Path:
    target = out / made.relative_to(aside)
    if target.is_dir():
        raise UnwritableError(f"{target} is a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    made.replace(target)
    return target


def _list(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
