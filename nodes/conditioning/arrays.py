"""Arrays in files: .npy, .npz and .safetensors. Never pickled ones: numpy's arrays of objects are refused.

Shapes come from the headers alone, without numpy.
"""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from graphcore import InputError
from nodes.models.files import model_folder, safetensors_header

if TYPE_CHECKING:
    import numpy

NPY = b"\x93NUMPY"
"""A .npy file begins so."""

LARGEST_HEADER = 1 << 16
"""Bytes; a header is a line of text."""

OBJECTS = "pickled objects are never loaded, they can run code; save plain numbers with `numpy.save`"


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each array in a file, by its name (a .npy file holds one, named "").

    Raises:
        InputError: it is no such file, it is damaged, or it holds pickled objects.
    """
    read = _READERS.get(file.suffix)
    if read is None or not file.is_file():
        raise InputError("path", expected=f"a file {', '.join(_READERS)}", got=_say(file), fix=_help(file))
    try:
        return read(file)
    except (OSError, ValueError, SyntaxError, RecursionError, zipfile.BadZipFile) as error:
        raise InputError(
            "path", expected=f"arrays in {file}", got=str(error)[:300], fix="copy this file anew"
        ) from error


def read(file: Path, name: str) -> numpy.ndarray[Any, Any]:
    """One array of a file whose `shapes` are known."""
    import numpy

    if file.suffix == ".safetensors":
        from safetensors.numpy import load_file

        found: numpy.ndarray[Any, Any] = load_file(file)[name]
        return found
    loaded: Any = numpy.load(file, allow_pickle=False)
    return loaded if file.suffix == ".npy" else loaded[name]  # type: ignore[no-any-return]


def choose(found: Mapping[str, tuple[int, ...]], name: str, port: str) -> str:
    """The name of the array that is meant: that of the only one, where none is given.

    Raises:
        InputError: there is none of this name, or there are several and none is named.
    """
    if name in found:
        return name
    if not name and len(found) == 1:
        return next(iter(found))
    listed = ", ".join(f"`{known}` {shape}" for known, shape in sorted(found.items()))
    raise InputError(port, expected=f"the name of an array in the file: {listed or 'there are none'}", got=repr(name))


def _npy(file: Path) -> dict[str, tuple[int, ...]]:
    with file.open("rb") as opened:
        return {"": _npy_shape(opened)}


def _npz(file: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    with zipfile.ZipFile(file) as opened:
        for entry in opened.namelist():
            with opened.open(entry) as array:
                found[entry.removesuffix(".npy")] = _npy_shape(array)
    return found


def _safetensors(file: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in safetensors_header.tensor_shapes(file).items()}


def _npy_shape(opened: IO[bytes]) -> tuple[int, ...]:
    """What the header of a .npy file says (numpy's format 1 to 3).

    Raises:
        InputError: the array holds pickled objects.
        ValueError: it is no such file.
    """
    start = opened.read(8)
    if start[:6] != NPY:
        raise ValueError("no array as numpy saves it")
    length = int.from_bytes(opened.read(2 if start[6] == 1 else 4), "little")
    if length > LARGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    header = ast.literal_eval(opened.read(length).decode("utf-8"))
    if not isinstance(header, dict) or not isinstance(shape := header.get("shape"), tuple):
        raise ValueError("a header without a shape")
    if "O" in str(header.get("descr")):
        raise InputError("path", expected="an array of numbers", got="an array of pickled objects", fix=OBJECTS)
    return tuple(int(side) for side in shape)


_READERS: Mapping[str, Callable[[Path], dict[str, tuple[int, ...]]]] = {
    ".npy": _npy, ".npz": _npz, ".safetensors": _safetensors,
}  # fmt: skip


def _say(file: Path) -> str:
    return str(file) if file.is_file() else f"{str(file)!r}, which is no file"


def _help(file: Path) -> str:
    return OBJECTS if file.suffix in model_folder.PICKLES else "check the path"
