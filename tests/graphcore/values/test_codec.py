"""Values as text and tensors: what comes back is what went in, and nothing else can be built."""

from __future__ import annotations

import enum
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore.values import codec, tensors
from graphcore.values.codec import Unstorable
from tests.graphcore.stored_values import TYPES, VALUES, Box, Color, Pair, same


def through_a_file(value: Any) -> Any:
    """Packed, written as safetensors, read and unpacked."""
    text, named = codec.pack(value, TYPES)
    data = tensors.serialise(named, {"value": text})
    file = io.BytesIO(data)

    def readinto(buffer: memoryview) -> None:
        assert file.readinto(buffer) == len(buffer)

    stored, metadata = tensors.read_file(readinto, len(data), lambda name: name.startswith("n"))
    return codec.unpack(metadata["value"], stored, TYPES)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_what_comes_back_is_what_went_in(value: Any) -> None:
    assert same(through_a_file(value), value)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_packing_leaves_the_value_as_it_is_and_is_deterministic(value: Any) -> None:
    first, named = codec.pack(value, TYPES)
    assert codec.pack(value, TYPES)[0] == first
    assert [name for name, tensor in named.items() if codec.pack(tensor, TYPES)[1] != {name[0] + "0": tensor}] == []


def test_integers_beyond_the_decimal_digits_that_python_reads() -> None:
    assert through_a_file([10**5000, -(10**5000)]) == [10**5000, -(10**5000)]


def test_memory_order_of_dimensions_is_kept() -> None:
    picture = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)
    repeated = torch.arange(3.0).expand(4, 3)
    for tensor in (picture, picture.permute(3, 1, 0, 2), repeated, repeated.T, torch.zeros(2, 1).expand(2, 9)):
        back = through_a_file(tensor)
        assert back.stride() == tensor.stride()
        assert torch.equal(back, tensor)
    assert through_a_file(picture[:, :, ::2]).is_contiguous()  # gaps are not worth keeping


def test_lazily_conjugated_and_negated_tensors_are_computed() -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    assert torch.equal(through_a_file(tensor.conj()), tensor.conj().resolve_conj())
    assert torch.equal(through_a_file(tensor.conj().imag), torch.tensor([-2.0, 4.0]))


def test_one_tensor_in_many_places_is_stored_once_and_comes_back_as_one() -> None:
    tensor = torch.ones(5)
    text, named = codec.pack([tensor, Box(tensor)], TYPES)
    assert len(named) == 1
    back = codec.unpack(text, named, TYPES)
    assert back[0] is back[1].content


def test_views_of_shared_memory_are_stored() -> None:
    base = torch.arange(12.0)
    views = [base, base[3:7], base.view(3, 4), base.view(3, 4).T]
    assert same(through_a_file(views), views)


class Other(enum.Flag):
    """Members without a name."""

    A = 1
    B = 2


@dataclass
class Handle:
    """Something outside."""

    __stepgraph_transient__ = True


@dataclass
class Unknown:
    """Not among the types."""

    x: int = 1


@pytest.mark.parametrize(
    "value",
    [
        Unknown(),
        Handle(),
        object(),
        {1, 2},
        lambda: None,
        Color,
        PurePosixPath("a"),
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, dtype=">f4"),
        np.zeros(2, dtype="complex128"),
        np.ma.masked_array([1, 2], mask=[0, 1]),
        torch.nn.Parameter(torch.ones(1)),
        torch.ones(2, device="meta"),
        torch.eye(2).to_sparse(),
        torch.ones(1, dtype=torch.complex128),
        torch.float32,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_built_again_is_refused(value: Any) -> None:
    types = {**TYPES, "test/Handle": Handle}
    for whole in (value, [1, {"a": (value,)}], Box(value)):
        with pytest.raises(Unstorable):
            codec.pack(whole, types)


def test_an_enum_member_without_a_name_is_refused() -> None:
    types = {"test/Other": Other}
    assert codec.unpack(codec.pack(Other.B, types)[0], {}, types) is Other.B
    with pytest.raises(Unstorable):
        codec.pack(Other.A | Other.B, types)


def test_depth_and_cycles_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit() * 3):
        deep = [deep]
    around: list[Any] = []
    around.append(around)
    for value in (deep, around):
        with pytest.raises(Unstorable, match="nested"):
            codec.pack(value, TYPES)
        assert codec.size(value) > 0
    with pytest.raises(Unstorable):
        codec.unpack('["l",[' * 100_000 + "]]" * 100_000, {}, TYPES)


# -- nothing else is built ------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*TYPES, "RED", "t0", "n0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(st.sampled_from("ifsbjpltdngxeNc"), inner).map(list)
        | st.tuples(st.sampled_from("ifsbjpltdngxeNc"), inner, inner).map(list)
        | st.tuples(st.sampled_from("eNc"), st.sampled_from([*TYPES, "os/system", "builtins/eval"]), inner).map(list)
    ),
    max_leaves=15,
)


def classes(value: Any) -> set[type]:
    """All classes in a value."""
    found = {type(value)}
    for item in codec._walk(value):
        found.add(type(item))
    return found


ALLOWED = {
    *TYPES.values(), type(None), bool, int, float, complex, str, bytes, list, tuple, dict, type(Path()), torch.Tensor,
    np.ndarray, np.float32, np.float64,
}  # fmt: skip


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_value_of_known_classes_or_is_refused(tree: Any) -> None:
    stored = {"t0": torch.ones(2), "n0": np.ones(1)}
    try:
        value = codec.unpack(json.dumps(tree), stored, TYPES)
    except Unstorable:
        return
    assert classes(value) <= ALLOWED


@given(st.text(max_size=40))
def test_text_that_is_no_json_is_refused_or_a_plain_value(text: str) -> None:
    try:
        value = codec.unpack(text, {}, TYPES)
    except Unstorable:
        return
    assert classes(value) <= ALLOWED


class Tripwire:
    """Must never be built."""

    def __init__(self) -> None:
        raise AssertionError("built")


@pytest.mark.parametrize("tag", ["c", "N", "e"])
def test_a_class_that_is_no_value_class_is_never_called(tag: str) -> None:
    types: dict[str, type] = {"test/Tripwire": Tripwire}
    with pytest.raises(Unstorable):
        codec.unpack(json.dumps([tag, "test/Tripwire", []]), {}, types)
    with pytest.raises(Unstorable):
        codec.unpack(json.dumps([tag, f"{__name__}/Tripwire", []]), {}, {})


def test_a_class_that_changed_is_refused() -> None:
    text, _ = codec.pack(Box(1, "a"), TYPES)

    @dataclass
    class Changed:
        content: Any
        name: str = ""

    with pytest.raises(Unstorable, match="other fields"):
        codec.unpack(text, {}, {"test/Box": Changed})


def test_a_constructor_that_raises_is_a_refusal() -> None:
    @dataclass
    class Fussy:
        x: int

        def __post_init__(self) -> None:
            if self.x > 1:
                raise ZeroDivisionError

    fussy = Fussy(1)
    fussy.x = 2
    types = {"test/Fussy": Fussy}
    with pytest.raises(Unstorable):
        codec.unpack(codec.pack(fussy, types)[0], {}, types)


# -- size -----------------------------------------------------------------------------------------------------------


def test_size_counts_shared_memory_once() -> None:
    tensor = torch.zeros(1000)
    alone = codec.size(tensor)
    assert alone == 4000
    assert codec.size([tensor, tensor[:10], Box(tensor)]) < 4000 + 500
    assert codec.size([tensor, tensor.clone()]) > 8000
    array = np.zeros(1000)
    assert 8000 <= codec.size((array, array[5:])) < 8500


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_size_is_at_least_that_of_the_tensors(value: Any) -> None:
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in codec.tensors_in(value)}
    assert codec.size(value) >= sum(storages.values())


def test_size_of_scalars_and_outputs() -> None:
    assert codec.size((1.0,)) == codec.size(1.0) == 24
    assert codec.size("a" * 100) >= 100
    assert codec.size(Pair("a" * 1000, b"b" * 1000)) >= 2000
    assert codec.size(object()) > 0


class Odd:
    """No dataclass: a plugin may send one through a link."""

    def __init__(self, held):
        self.held = held


def test_the_size_of_any_object_counts_what_it_holds():
    assert codec.size((Odd(np.zeros(1_000_000, np.uint8)),)) >= 1_000_000
