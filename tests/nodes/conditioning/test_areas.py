"""Where and when a conditioning holds: the regions that the nodes make. What the UNet does with them: test_regions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError
from nodes import in_area, in_steps, together
from nodes.conditioning.areas import infer_area, infer_steps
from nodes.sampling.regions import holds
from nodes.types import Conditioning, Mask

ONE = Conditioning(torch.zeros(1, 2, 3))
SHARE = st.floats(0, 1)


@settings(deadline=None)
@given(SHARE, SHARE, SHARE, SHARE, SHARE)
def test_steps_of_steps_hold_where_both_do(a: float, b: float, c: float, d: float, progress: float) -> None:
    if not (a < b and c < d):
        return
    try:
        (region,) = in_steps(in_steps(ONE, a, b), c, d).regions
    except InputError:
        assert max(a, c) >= min(b, d)
        return
    (first,), (second,) = in_steps(ONE, a, b).regions, in_steps(ONE, c, d).regions
    assert holds(region, progress) == (holds(first, progress) and holds(second, progress))
    assert region.conditioning is ONE


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 49))
def test_neighbouring_ranges_share_the_steps(count: int, cut: int) -> None:
    """Each step has exactly one of the two, also the step at the border."""
    share = cut / 50
    both = together(in_steps(ONE, 0, share), in_steps(ONE, share, 1))
    for index in range(count):
        first, second = (holds(region, index / count) for region in both.regions)
        assert first == (index / count < share)
        assert second == (not first)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.6, 0.4), (1.0, 1.0), (0.0, 0.0)])
def test_an_empty_range_is_refused_before_a_run(start: float, end: float) -> None:
    with pytest.raises(InputError, match="more than `start`"):
        in_steps(ONE, start, end)
    with pytest.raises(InputError, match="more than `start`"):
        infer_steps(None, start, end)


def test_areas_of_areas_multiply() -> None:
    values = torch.rand(2, 1, 1, 4, 4)
    (region,) = in_area(in_area(ONE, Mask(values[0]), 2.0), Mask(values[1]), 3.0).regions
    assert torch.equal(region.mask, values[0] * values[1])  # type: ignore[arg-type]
    assert region.weight == 6.0
    with pytest.raises(InputError, match="4") as caught:
        in_area(in_area(ONE, Mask(values[0])), Mask(torch.ones(1, 1, 8, 8)))
    assert "resize_mask" in caught.value.fix
    with pytest.raises(InputError):
        infer_area(in_area(ONE, Mask(values[0])), Mask(torch.ones(1, 1, 8, 8)))


def test_an_area_keeps_its_steps_and_together_keeps_all() -> None:
    mask = Mask(torch.ones(1, 1, 4, 4))
    timed = in_area(in_steps(ONE, 0.25, 0.75), mask)
    (region,) = timed.regions
    assert (region.start, region.end, region.mask) == (0.25, 0.75, mask.values)
    found = together(together(timed, ONE), timed)
    assert [(r.start, r.end, r.mask is None) for r in found.regions] == [
        (0.25, 0.75, False), (0.0, 1.0, True), (0.25, 0.75, False)
    ]  # fmt: skip
    assert all(not r.conditioning.regions for r in found.regions)
