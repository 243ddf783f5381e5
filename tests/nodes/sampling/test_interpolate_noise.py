"""Noise between two noises: on the sphere, from one to the other, and standard normal all the way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import geometric_slerp

from graphcore import InputError, TensorSpec
from nodes import init_noise, interpolate_noise, seed_generators
from nodes.sampling.noise import _infer_interpolated
from nodes.types import Latents, LatentSpace

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=0.18215, sample_size=16)
SEEDS = st.integers(0, 2**32)


def noise(seed: int, images: int = 1, side: int = 16) -> Latents:
    return init_noise(SPACE, seed_generators(seed, images), side * 8, side * 8).noise


def unit(samples: torch.Tensor) -> torch.Tensor:
    flat = samples.flatten(1).double()
    return flat / flat.norm(dim=1, keepdim=True)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(0.01, 0.99))
def test_directions_are_those_of_scipy(seed: int, amount: float) -> None:
    one, other = noise(seed), noise(seed + 1)
    lengths = [latents.samples.double().norm() for latents in (one, other)]
    found = interpolate_noise(one, other, amount).samples
    # Both have about the same length; on equal lengths our formula is scipy's, times that length.
    scaled = Latents((other.samples * (lengths[0] / lengths[1])).float(), SPACE)
    same_length = interpolate_noise(one, scaled, amount).samples
    expected = geometric_slerp(unit(one.samples)[0].numpy(), unit(other.samples)[0].numpy(), [amount])[0]
    assert torch.allclose(unit(same_length)[0], torch.from_numpy(expected), atol=1e-6)
    assert math.isclose(float(same_length.double().norm()), float(lengths[0]), rel_tol=1e-5)
    assert min(lengths) * 0.99 <= found.double().norm() <= max(lengths) * 1.01


def test_the_ends_are_the_noises_themselves() -> None:
    one, other = noise(1, 2), noise(7, 2)
    assert torch.equal(interpolate_noise(one, other, 0).samples, one.samples)
    assert torch.equal(interpolate_noise(one, other, 1).samples, other.samples)
    single = interpolate_noise(noise(1), other, 0).samples
    assert torch.equal(single, noise(1).samples.expand(2, -1, -1, -1))


@pytest.mark.parametrize("amount", [0.25, 0.5, 0.9])
def test_it_is_standard_normal(amount: float) -> None:
    """A straight line would have variance (1 - t)^2 + t^2."""
    found = interpolate_noise(noise(3, 1, 64), noise(4, 1, 64), amount).samples.flatten()
    assert stats.kstest(found.numpy(), "norm").pvalue > 0.01
    assert abs(float(found.var()) - 1) < 0.03


def test_each_image_goes_its_own_way() -> None:
    one, others = noise(1), noise(7, 3)
    found = interpolate_noise(one, others, 0.3).samples
    for row in range(3):
        alone = interpolate_noise(one, Latents(others.samples[row : row + 1], SPACE), 0.3).samples
        assert torch.allclose(found[row : row + 1], alone, atol=1e-6)


def test_equal_and_opposite_noises_stay_finite() -> None:
    one = noise(1)
    assert torch.allclose(interpolate_noise(one, one, 0.3).samples, one.samples)
    assert interpolate_noise(one, Latents(-one.samples, SPACE), 0.5).samples.isfinite().all()


def test_inputs_stay_as_they_are() -> None:
    one, other = noise(1), noise(2)
    kept = one.samples.clone(), other.samples.clone()
    interpolate_noise(one, other, 0.5)
    assert torch.equal(one.samples, kept[0])
    assert torch.equal(other.samples, kept[1])


@pytest.mark.parametrize(("first", "second"), [((1, 4, 8, 8), (1, 4, 8, 16)), ((2, 4, 8, 8), (3, 4, 8, 8))])
def test_other_sizes_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="of one image") as caught:
        interpolate_noise(Latents(torch.zeros(first), SPACE), Latents(torch.zeros(second), SPACE))
    assert caught.value.port == "first"
    specs = [Latents(TensorSpec(shape), SPACE) for shape in (first, second)]  # type: ignore[arg-type]
    with pytest.raises(InputError):
        _infer_interpolated(*specs)
    unknown = Latents(TensorSpec((None, 4, None, None)), SPACE)  # type: ignore[arg-type]
    assert _infer_interpolated(unknown, specs[1]) is specs[1]
