"""Keys: equal values have equal keys in every process, different values different ones."""

from __future__ import annotations

import math
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore.errors import StepgraphError
from graphcore.values import keys

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


class Colour(Enum):
    RED = 1
    ALSO_ONE = "1"


def same(a: object, b: object) -> bool:
    """Equality that sees types and the sign of zero, and takes NaN as equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


@given(LITERALS, LITERALS)
def test_keys_are_equal_exactly_where_values_are(a: object, b: object) -> None:
    assert (keys.literal(a) == keys.literal(b)) == same(a, b)


def test_types_count() -> None:
    values = [1, 1.0, True, "1", b"1", [1], (1,), None, "", 0, False, 0.0, -0.0, Colour.RED, Path("1"), {"1": 1}]
    assert len({keys.literal(value) for value in values}) == len(values)


def test_order_of_a_mapping_does_not_count_and_that_of_a_list_does() -> None:
    assert keys.literal({"a": 1, "b": 2}) == keys.literal({"b": 2, "a": 1})
    assert keys.literal([1, 2]) != keys.literal([2, 1])


def test_nesting_cannot_be_confused() -> None:
    assert keys.literal(["ab", "c"]) != keys.literal(["a", "bc"])
    assert keys.literal([["a"], "b"]) != keys.literal(["a", ["b"]])


def test_the_same_in_another_process() -> None:
    value = ["prompt", 7, 7.5, True, {"a": None}]
    code = f"from graphcore.values import keys; print(keys.literal({value!r}).hex())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == keys.literal(value).hex()


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(StepgraphError, match="object cannot be part of a key"):
        keys.literal(object())
