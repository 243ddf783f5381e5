"""The noised small picture of the x4 upscaler: by the closed form of DDPM, image by image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from graphcore import InputError, TensorSpec
from nodes import encode_low_resolution, load_model, noise_low_resolution, seed_generators
from nodes.types import Conditioning, Image, LatentSpace

noise_augmentation = sys.modules["nodes.conditioning.noise_augmentation"]
SPACE = LatentSpace(4, 4, 0.08333, 16)


def _small(batch: int = 1) -> Conditioning:
    pixels = torch.rand(batch, 3, 12, 8, generator=torch.Generator().manual_seed(1))
    return encode_low_resolution(Image(pixels), SPACE, 4, "bicubic").conditioning


def _scheduler() -> Any:
    return load_model("random:sd_x4_upscaler").low_res_scheduler


@pytest.mark.parametrize("noise_level", [0, 20, 350])
def test_it_is_the_picture_with_noise_of_the_level(noise_level: int) -> None:
    small = _small()
    found = noise_low_resolution(small, _scheduler(), seed_generators(5, 2), noise_level)
    betas = torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float64) ** 2
    abar = (1 - betas).cumprod(0)[noise_level]
    for image, noised in enumerate(found.conditioning.concat):
        generator = torch.Generator().manual_seed(5 + image)
        noise = torch.randn(1, 3, 12, 8, generator=generator)[0].double()
        expected = abar.sqrt() * small.concat[0].double() + (1 - abar).sqrt() * noise
        torch.testing.assert_close(noised.double(), expected, rtol=0, atol=1e-5)
        assert torch.equal(found.generators.states[image], generator.get_state())
    inferred = noise_augmentation.infer(small, _scheduler(), seed_generators(5, 2), noise_level)
    assert inferred.conditioning.concat == TensorSpec((2, 3, 12, 8))


def test_an_image_of_a_batch_is_the_image_alone() -> None:
    batch = noise_low_resolution(_small(), _scheduler(), seed_generators(5, 3)).conditioning.concat
    alone = noise_low_resolution(_small(), _scheduler(), seed_generators(7)).conditioning.concat
    assert torch.equal(batch[2:], alone)


@pytest.mark.parametrize(
    ("small", "model", "images", "noise_level", "said"),
    [
        (_small(), "sd_x4_upscaler", 1, 351, "at most 350"),
        (_small(), "sd15", 1, 20, "such as the Stable Diffusion x4 upscaler"),
        (Conditioning(), "sd_x4_upscaler", 1, 20, "`encode_low_resolution` makes one"),
        (_small(2), "sd_x4_upscaler", 3, 20, "one picture, or 3"),
    ],
)
def test_what_it_refuses(small: Conditioning, model: str, images: int, noise_level: int, said: str) -> None:
    scheduler = load_model(f"random:{model}").low_res_scheduler
    for refuse in (noise_augmentation.infer, noise_low_resolution):
        with pytest.raises(InputError, match=said):
            refuse(small, scheduler, seed_generators(5, images), noise_level)


def test_the_highest_level_is_what_the_pipeline_was_saved_with(tmp_path: Path) -> None:
    """The folder that the pipeline of diffusers writes, weights and all."""
    import diffusers

    from tests.parity.parts import parts

    made = diffusers.StableDiffusionUpscalePipeline(**parts("random:sd_x4_upscaler"), max_noise_level=100)
    made.save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    assert model.unet.family == "sd_x4_upscaler"
    assert model.latent_space.scaling_factor == 0.08333
    with pytest.raises(InputError, match="at most 100"):
        noise_low_resolution(_small(), model.low_res_scheduler, seed_generators(5), 101)
    noised = noise_low_resolution(_small(), model.low_res_scheduler, seed_generators(5), 100).conditioning.concat
    assert torch.equal(
        noised, noise_low_resolution(_small(), _scheduler(), seed_generators(5), 100).conditioning.concat
    )
