"""The channels of inpainting models: the bits of `StableDiffusionInpaintPipeline.prepare_mask_latents`."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline

from graphcore import InputError, TensorSpec
from nodes import add_concat, encode_masked_image, inpaint_mode, load_model
from nodes.models.memory import weights
from nodes.types import Conditioning, Generators, Image, Mask, Region

masked_image = sys.modules["nodes.conditioning.masked_image"]

SEEDS = (5, 6)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _spec(*shape: int | None) -> Any:
    return TensorSpec(shape)


@pytest.mark.parametrize("pictures", [1, 2])
def test_channels_are_the_pipelines(pictures: int) -> None:
    model = load_model("random:sd15_inpaint")
    image, mask = Image(_random(pictures, 3, 48, 80)), Mask(_random(1, 1, 48, 80, seed=1))
    hard = (mask.values >= 0.5).float()
    pixels = ((2 * image.pixels - 1) * (hard < 0.5)).repeat(2 // pictures, 1, 1, 1)
    pixels = pixels.to(memory_format=torch.channels_last)  # in which pictures from files reach the VAE
    opened = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    with weights.use(model.vae) as vae, torch.no_grad():
        pipeline = SimpleNamespace(vae=vae, vae_scale_factor=2)
        pipeline._encode_vae_image = lambda image, generator: StableDiffusionInpaintPipeline._encode_vae_image(
            pipeline, image, generator
        )
        small, latents = StableDiffusionInpaintPipeline.prepare_mask_latents(
            pipeline, hard, pixels, 2, 48, 80, torch.float32, "cpu", opened, False
        )
    found = encode_masked_image(model.vae, image, mask, Generators(SEEDS))
    assert torch.equal(found.concat.concat, torch.cat([small, latents], dim=1))
    assert torch.equal(found.generators.states, torch.stack([generator.get_state() for generator in opened]))
    inferred = masked_image._infer_masked(model.vae, image, mask, Generators(SEEDS))
    assert inferred.concat.concat == TensorSpec((2, 5, 24, 40))


def test_a_mask_of_another_size_is_explained() -> None:
    model = load_model("random:sd15_inpaint")
    image, mask = Image(_random(1, 3, 32, 32)), Mask(_random(1, 1, 16, 32))
    for call in (encode_masked_image, masked_image._infer_masked):
        with pytest.raises(InputError, match="32 x 32 pixels, got 32 x 16 pixels; `resize_mask` makes 32 x 32"):
            call(model.vae, image, mask, Generators((0,)))


@pytest.mark.parametrize(
    ("family", "strength", "expected"),
    [
        ("sd15", 1.0, ("blend", "noise", "picture")),
        ("sd15", 0.9, ("blend", "picture", "picture")),
        ("sd15_inpaint", 1.0, ("concat", "noise", "noise")),
        ("sdxl_inpaint", 0.3, ("concat", "picture", "picture")),
        ("improved_ddpm", 1.0, ("blend", "noise", "picture")),
    ],
)
def test_the_way_of_inpainting(family: str, strength: float, expected: tuple[str, str, str]) -> None:
    unet = load_model(f"random:{family}").unet
    assert inpaint_mode(unet, strength) == masked_image._infer_mode(unet, strength) == expected


def test_other_models_cannot_inpaint() -> None:
    unet = load_model("random:ldm_super_resolution").unet
    for call in (inpaint_mode, masked_image._infer_mode):
        with pytest.raises(InputError, match="3 or 7 input channels, got one with 6"):
            call(unet)


def test_channels_follow_those_that_are_there() -> None:
    text, first, second = _random(1, 77, 8), _random(1, 1, 4, 6), _random(2, 3, 4, 6)
    once = add_concat(Conditioning(context=text), Conditioning(concat=first))
    assert once.context is text
    assert once.concat is first
    twice = add_concat(once, Conditioning(concat=second))
    assert torch.equal(twice.concat, torch.cat([first.expand(2, -1, -1, -1), second], dim=1))
    described = masked_image._infer_concat(
        Conditioning(concat=_spec(1, 1, 4, None)), Conditioning(concat=_spec(2, 3, 4, 6))
    )
    assert described.concat == TensorSpec((2, 4, 4, None))


def test_every_region_gets_them() -> None:
    channels = Conditioning(concat=_random(1, 5, 4, 4))
    regions = tuple(Region(Conditioning(context=_random(1, 7, 8, seed=seed)), start=seed / 2) for seed in (0, 1))
    found = add_concat(Conditioning(regions=regions), channels)
    assert [region.conditioning.concat is channels.concat for region in found.regions] == [True, True]
    assert [region.start for region in found.regions] == [0.0, 0.5]
    assert found.concat is None
    assert regions[0].conditioning.concat is None


def test_what_has_no_channels_or_others_is_refused() -> None:
    for call in (add_concat, masked_image._infer_concat):
        with pytest.raises(InputError, match="`encode_masked_image` makes one"):
            call(Conditioning(context=_random(1, 7, 8)), Conditioning())
        with pytest.raises(InputError, match=r"channels of 4 x 4.*got 6 x 5"):
            call(Conditioning(concat=_random(1, 1, 4, 4)), Conditioning(concat=_random(1, 1, 5, 6)))
