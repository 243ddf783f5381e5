"""Values of every kind that the cache may hold, and a comparison that overlooks nothing."""

from __future__ import annotations

import dataclasses
import enum
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st


class Color(enum.Enum):
    """An enum."""

    RED = 1
    ALSO_RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    """An enum whose members are numbers."""

    LOW = 1
    HIGH = 2


class Pair(NamedTuple):
    """A named tuple."""

    first: Any
    second: Any


@dataclass(frozen=True, eq=False)
class Box:
    """A frozen dataclass."""

    content: Any
    label: str = ""


@dataclass(slots=True)
class Slot:
    """A dataclass with slots and a field that its constructor computes."""

    number: Any
    text: str = field(init=False)

    def __post_init__(self) -> None:
        self.text = "computed"


TYPES: dict[str, type] = {f"test/{cls.__name__}": cls for cls in (Color, Level, Pair, Box, Slot)}

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn,
    torch.float8_e5m2,
]  # fmt: skip

ARRAY_TYPES = [
    "bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
    "complex64",
]  # fmt: skip


def _bits(draw: Any, itemsize: int, shape: tuple[int, ...]) -> bytes:
    size = itemsize * math.prod(shape)
    return draw(st.binary(min_size=size, max_size=size))


SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@st.composite
def tensors(draw: Any) -> torch.Tensor:
    """Tensors of all types with any bits, contiguous or not, some of them views."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    data = bytearray(_bits(draw, dtype.itemsize, shape))
    if not data:
        tensor = torch.empty(shape, dtype=dtype)
    elif dtype is torch.bool:
        tensor = torch.tensor([byte % 2 == 1 for byte in data]).reshape(shape)
    else:
        tensor = torch.frombuffer(data, dtype=torch.uint8).clone().view(dtype).reshape(shape)
    kind = draw(st.sampled_from(["plain", "transposed", "strided", "expanded", "reversed", "inner"]))
    if kind == "expanded":
        return tensor.unsqueeze(0).expand(3, *shape)
    if not shape or kind == "plain":
        return tensor
    if kind == "transposed":
        return tensor.transpose(0, -1)
    if kind == "strided":
        return tensor[::2]
    if kind == "inner":
        return tensor[..., 1:]
    return tensor.permute(*reversed(range(len(shape))))


@st.composite
def arrays(draw: Any) -> np.ndarray[Any, Any]:
    """NumPy arrays with any bits, some of them views."""
    dtype, shape = np.dtype(draw(st.sampled_from(ARRAY_TYPES))), draw(SHAPES)
    data = _bits(draw, dtype.itemsize, shape)
    raw = bytes(byte % 2 for byte in data) if dtype.name == "bool" else data
    array = np.frombuffer(raw, dtype=dtype).reshape(shape)
    return array[..., ::-1] if shape and draw(st.booleans()) else array


TEXT = st.text(st.characters(categories=None), max_size=12)  # lone surrogates too
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63), 10**3000, -(7**999)])
    | st.floats()
    | st.sampled_from([-0.0, math.inf, -math.inf, math.nan, 5e-324, 1e22])
    | st.complex_numbers()
    | TEXT
    | st.binary(max_size=12)
    | st.sampled_from([Path("a/b"), Path("/"), Path("caf\udce9"), *Color, *Level])
    | st.sampled_from([np.float32(0.1), np.float64(-0.0), np.int8(-3), np.bool_(True)])
)
KEYS = st.none() | st.booleans() | st.integers() | TEXT | st.binary(max_size=4) | st.tuples(st.integers(), TEXT)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.builds(Pair, inner, inner)
        | st.builds(Box, inner, TEXT)
        | st.builds(Slot, inner)
        | inner.map(lambda value: [value, value])
    )


VALUES = st.recursive(SCALARS | tensors() | arrays(), _containers, max_leaves=12)


def same(a: Any, b: Any) -> bool:
    """Whether two values have the same types and the same bits throughout."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return (a.dtype, a.shape, a.device) == (b.dtype, b.shape, b.device) and _raw(a) == _raw(b)
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, enum.Enum):
        return a is b
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return bool(a == b)


def _raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().as_strided((tensor.numel(),), (1,)).view(torch.uint8).tolist())
