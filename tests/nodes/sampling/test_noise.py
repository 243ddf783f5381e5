"""Seeds and noise: one generator per image, whose state is a value."""

from __future__ import annotations

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from graphcore.declare.node import declared
from graphcore.runtime import Runtime, _runtime
from nodes.sampling import noise as noises
from nodes.sampling.noise import after_draws, init_noise, seed_generators, torch_generators
from nodes.types import Generators, LatentSpace

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=0.18215, sample_size=16)


def test_image_k_has_the_seed_plus_k() -> None:
    assert seed_generators(40, 3).seeds == (40, 41, 42)
    assert seed_generators(2**64 - 1, 2).seeds == (2**64 - 1, 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "1"])
def test_a_seed_is_an_integer_that_a_generator_takes(seed: object) -> None:
    node = declared(seed_generators)
    assert node is not None
    assert node.inputs["seed"].validate(2**64 - 1) == 2**64 - 1
    with pytest.raises(ValueError, match=r"integer|less than|greater than"):
        node.inputs["seed"].validate(seed)


@pytest.mark.parametrize("seed", [0, 123, 2**64 - 1])
def test_noise_equals_that_of_a_pipeline(seed: int) -> None:
    made = init_noise(SPACE, seed_generators(seed, 2), width=64, height=32).noise.samples
    generators = [torch.Generator().manual_seed((seed + image) % 2**64) for image in range(2)]
    assert torch.equal(made, randn_tensor((2, 4, 4, 8), generator=generators))


def test_noise_has_the_dtype_of_the_run_and_the_bits_of_a_pipeline_of_that_dtype() -> None:
    token = _runtime.set(Runtime(dtype="bfloat16"))
    try:
        made = init_noise(SPACE, seed_generators(5)).noise.samples
    finally:
        _runtime.reset(token)
    expected = randn_tensor((1, 4, 16, 16), generator=[torch.Generator().manual_seed(5)], dtype=torch.bfloat16)
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, expected)


def test_draws_go_on_from_the_state() -> None:
    first = init_noise(SPACE, seed_generators(3, 2))
    second = init_noise(SPACE, first.generators)
    generator = torch.Generator().manual_seed(4)
    expected = [torch.randn((1, 4, 16, 16), generator=generator) for _ in range(2)]
    assert torch.equal(first.noise.samples[1:], expected[0])
    assert torch.equal(second.noise.samples[1:], expected[1])


def test_drawing_leaves_the_value_as_it_was() -> None:
    generators = init_noise(SPACE, seed_generators(3, 2)).generators
    assert generators.states is not None
    before = generators.states.clone()
    one, two = (init_noise(SPACE, generators).noise.samples for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(generators.states, before)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), batch=st.integers(1, 4), draws=st.lists(st.integers(1, 40), max_size=3))
def test_a_state_is_a_generator(seed: int, batch: int, draws: list[int]) -> None:
    """Opening, drawing and closing, any number of times, equals one generator that lives on (odd draws included)."""
    value = Generators(tuple((seed + image) % 2**64 for image in range(batch)))
    alive = [torch.Generator().manual_seed(each) for each in value.seeds]
    for count in draws:
        opened = torch_generators(value)
        rows = [torch.randn(count, generator=generator) for generator in opened]
        assert all(torch.equal(row, torch.randn(count, generator=one)) for row, one in zip(rows, alive, strict=True))
        value = after_draws(value, opened)


def test_the_size_is_by_default_that_of_the_training() -> None:
    assert init_noise(SPACE, seed_generators(0)).noise.samples.shape == (1, 4, 16, 16)


@pytest.mark.parametrize(("width", "height", "port"), [(100, 64, "width"), (64, 3, "height")])
def test_a_size_must_be_a_multiple_of_the_downsampling(width: int, height: int, port: str) -> None:
    with pytest.raises(InputError, match="a multiple of 8") as caught:
        init_noise(SPACE, seed_generators(0), width, height)
    assert caught.value.port == port
    node = declared(init_noise)
    assert node is not None
    assert node.infer is not None
    with pytest.raises(InputError, match="a multiple of 8"):
        node.infer(space=SPACE, generators=seed_generators(0), width=width, height=height)


def test_inference_tells_the_shape() -> None:
    node = declared(init_noise)
    assert node is not None
    assert node.infer is not None
    inferred = node.infer(space=SPACE, generators=seed_generators(0, 3), width=64, height=0)
    made = init_noise(SPACE, seed_generators(0, 3), 64, 0)
    assert isinstance(inferred.noise.samples, TensorSpec)
    assert inferred.noise.samples.shape == tuple(made.noise.samples.shape)
    assert made.generators.states is not None
    assert inferred.generators.states.shape == tuple(made.generators.states.shape)
    unknown = node.infer(space=SPACE, generators=seed_generators(0, 3), width=64)
    assert unknown.noise.samples.shape == (3, 4, None, 8)
    assert torch.Generator().get_state().numel() == noises.STATE_BYTES
