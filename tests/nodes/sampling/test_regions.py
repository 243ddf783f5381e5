"""Regions of a conditioning in the UNet node: against blends of separate calls made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from nodes import encode_text, in_area, in_steps, load_model, together, tokenize, unet
from nodes.sampling import regions
from nodes.sampling.unet import infer
from nodes.types import Conditioning, Latents, Mask, Region, Timestep

COUNT = 10


@pytest.fixture(scope="module")
def scene() -> Any:
    """A model, latents of two images, and three prompts."""
    model = load_model("random:sd15")
    texts = ("a red apple", "the cat", "on the car")
    prompts = [encode_text(model.text_encoder, tokenize(model.tokenizer, text)) for text in texts]
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(unet=model.unet, latents=Latents(noise, model.latent_space), prompts=prompts)


def step(index: int) -> Timestep:
    return Timestep(torch.tensor(901 - 90 * index), index, COUNT)


def predict(scene: Any, conditioning: Conditioning, index: int = 0) -> torch.Tensor:
    return unet(scene.unet, scene.latents, step(index), conditioning).sample


def halves(height: int = 16, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask of the left half, and of the right one."""
    left = torch.zeros(1, 1, height, width)
    left[..., : width // 2] = 1
    return left, 1 - left


def test_a_full_mask_and_all_steps_change_nothing(scene: Any) -> None:
    plain = predict(scene, scene.prompts[0])
    full = Mask(torch.ones(1, 1, 16, 16))
    for conditioning in (
        in_area(scene.prompts[0], full, 0.3),
        in_steps(scene.prompts[0]),
        in_area(scene.prompts[0], Mask(torch.ones(1, 1, 96, 96))),
    ):
        assert torch.equal(predict(scene, conditioning), plain)


def test_halves_are_those_of_separate_calls(scene: Any) -> None:
    left, right = halves()
    one, other = scene.prompts[:2]
    found = predict(scene, together(in_area(one, Mask(left)), in_area(other, Mask(right))))
    expected = left * predict(scene, one) + right * predict(scene, other)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (predict(scene, one) - predict(scene, other)).abs().max() > 1e-3


def test_overlaps_are_weighted_means(scene: Any) -> None:
    """A gradient, one mask per image, and a conditioning that is everywhere."""
    one, other, third = scene.prompts
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    each = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    found = predict(scene, together(together(in_area(one, Mask(ramp), 2.0), in_area(other, Mask(each), 0.5)), third))
    weights = [2.0 * ramp, 0.5 * each, torch.ones(1, 1, 16, 16)]
    calls = [predict(scene, prompt) for prompt in scene.prompts]
    expected = sum(w * c for w, c in zip(weights, calls, strict=True)) / sum(weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_masks_of_other_sizes_are_averaged_down(scene: Any) -> None:
    """A mask of 4 x 4 times the size whose edges lie on the grid of the latents is, but near the edge, that of the
    latents; a constant one is so everywhere.
    """
    one, other = scene.prompts[:2]
    left, right = halves(64, 64)
    found = predict(scene, together(in_area(one, Mask(left)), in_area(other, Mask(right))))
    small_left, small_right = halves()
    expected = small_left * predict(scene, one) + small_right * predict(scene, other)
    torch.testing.assert_close(found[..., :7], expected[..., :7], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[..., 9:], expected[..., 9:], rtol=0, atol=1e-5)
    third = torch.full((1, 1, 50, 30), 0.25)
    found = predict(scene, together(in_area(one, Mask(third)), in_area(other, Mask(1 - third))))
    torch.testing.assert_close(
        found, 0.25 * predict(scene, one) + 0.75 * predict(scene, other), rtol=0, atol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize("cut", [0.3, 0.35, 0.5])
def test_ranges_of_steps_meet_without_overlap(scene: Any, cut: float) -> None:
    early, late = scene.prompts[:2]
    both = together(in_steps(early, 0, cut), in_steps(late, cut, 1))
    for index in range(COUNT):
        expected = early if index / COUNT < cut else late
        assert torch.equal(predict(scene, both, index), predict(scene, expected, index))


def test_texts_of_other_lengths_blend_too(scene: Any) -> None:
    """Contexts of different shapes cannot share a forward pass, and still blend."""
    one = scene.prompts[0]
    other = Conditioning(scene.prompts[1].context[:, :5])
    found = predict(scene, together(one, other))
    torch.testing.assert_close(found, (predict(scene, one) + predict(scene, other)) / 2, rtol=0, atol=1e-5)


def test_masks_that_leave_a_gap_are_refused(scene: Any) -> None:
    left, _ = halves()
    with pytest.raises(InputError, match="leave a gap") as caught:
        predict(scene, in_area(scene.prompts[0], Mask(left)))
    assert "together" in caught.value.fix
    with pytest.raises(InputError, match="leave a gap"):  # and again: it is not remembered as good
        predict(scene, in_area(scene.prompts[0], Mask(left)))


def test_steps_without_a_conditioning_are_refused_in_the_run_and_before(scene: Any) -> None:
    gap = together(in_steps(scene.prompts[0], 0, 0.3), in_steps(scene.prompts[1], 0.5, 1))
    with pytest.raises(InputError, match="40%"):
        predict(scene, gap, 4)
    predict(scene, gap, 5)
    with pytest.raises(InputError, match="30% to 50%"):
        infer(scene.unet, conditioning=gap)
    with pytest.raises(InputError, match="50% to 100%"):
        infer(scene.unet, conditioning=in_steps(scene.prompts[0], 0, 0.5))


RANGES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 10)).filter(lambda r: r[0] < r[1]), min_size=1, max_size=5
)


@settings(deadline=None)
@given(RANGES)
def test_a_gap_is_found_exactly_where_one_is(ranges: list[tuple[int, int]]) -> None:
    value = Conditioning(regions=tuple(Region(Conditioning(), start=a / 10, end=b / 10) for a, b in ranges))
    whole = all(any(a <= tenth < b for a, b in ranges) for tenth in range(10))
    if whole:
        regions.check(value)
    else:
        with pytest.raises(InputError):
            regions.check(value)


def test_every_region_must_fit_the_unet(scene: Any) -> None:
    wide: Any = TensorSpec((1, 77, 48))
    with pytest.raises(InputError, match="32"):
        infer(scene.unet, conditioning=together(scene.prompts[0], in_steps(Conditioning(wide), 0.5, 1)))


def test_masks_are_not_read_again_in_every_step(scene: Any) -> None:
    left, right = halves()
    both = together(in_area(scene.prompts[0], Mask(left)), in_area(scene.prompts[1], Mask(right)))
    before = regions._shares.cache_info()
    for index in range(4):
        predict(scene, both, index)
    after = regions._shares.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 3)


def test_values_are_not_written_to(scene: Any) -> None:
    left, right = halves()
    both = together(in_area(scene.prompts[0], Mask(left)), in_area(scene.prompts[1], Mask(right), 2.0))
    contexts = [prompt.context.clone() for prompt in scene.prompts[:2]]
    first = predict(scene, both)
    kept = first.clone()
    predict(scene, both)
    assert torch.equal(first, kept)
    assert torch.equal(left + right, torch.ones(1, 1, 16, 16))
    for prompt, context in zip(scene.prompts, contexts, strict=False):
        assert torch.equal(prompt.context, context)
