"""Masks: against Pillow, SciPy and the mask processor of diffusers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from scipy import ndimage

from graphcore import InputError, TensorSpec
from nodes import (
    blur_mask,
    grow_mask,
    invert_mask,
    load_mask,
    mask_from_alpha,
    paste,
    resize_mask,
    threshold_mask,
)
from nodes.types import Image, LatentSpace, Mask

masks = sys.modules["nodes.pictures.masks"]


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("size", [(30, 20), (64, 48), (16, 8)])
def test_a_mask_is_that_of_the_inpainting_pipelines(grey: Path, size: tuple[int, int]) -> None:
    processor = VaeImageProcessor(
        vae_scale_factor=2, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )  # fmt: skip
    expected = processor.preprocess(Pillow.open(grey), height=size[1], width=size[0])
    mask = threshold_mask(resize_mask(load_mask(grey), *size))
    assert torch.equal(mask.values, expected)
    assert masks._infer_resize(masks._infer_load(grey), *size).values == TensorSpec(tuple(expected.shape))


def test_a_mask_takes_the_size_of_the_model(grey: Path) -> None:
    resized = resize_mask(load_mask(grey), space=LatentSpace(4, 2, 1.0, 8))
    assert resized.values.shape == (1, 1, 16, 16)


def test_transparency_is_kept_by_one_loader_and_repainted_by_the_other(tmp_path: Path) -> None:
    alpha = np.array([[0, 51], [204, 255]], dtype=np.uint8)
    pixels = np.dstack([np.full((2, 2, 3), 255, dtype=np.uint8), alpha])
    Pillow.fromarray(pixels, "RGBA").save(tmp_path / "mask.png")
    expected = torch.tensor([[[[0, 0.2], [0.8, 1.0]]]])
    torch.testing.assert_close(load_mask(tmp_path / "mask.png").values, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(mask_from_alpha(tmp_path / "mask.png").values, 1 - expected, atol=1e-6, rtol=0)
    Pillow.new("RGB", (3, 2), "red").save(tmp_path / "opaque.png")
    assert not mask_from_alpha(tmp_path / "opaque.png").values.any()


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no picture")
    for call in (load_mask, mask_from_alpha, masks._infer_load):
        with pytest.raises(InputError, match="a picture"):
            call(tmp_path / "mask.png")


@pytest.mark.parametrize("pixels", [0, 1, 3, -1, -2, 40])
def test_growing_is_a_grey_dilation(pixels: int) -> None:
    values = (_random(2, 1, 15, 12) > 0.85).float() * _random(2, 1, 15, 12, seed=1)
    size, mode = 2 * abs(pixels) + 1, "nearest"
    change = ndimage.grey_dilation if pixels >= 0 else ndimage.grey_erosion
    expected = [change(row[0].numpy(), size=(size, size), mode=mode) for row in values]
    assert np.array_equal(grow_mask(Mask(values), pixels).values[:, 0].numpy(), np.stack(expected))


@pytest.mark.parametrize("radius", [0.5, 2.0, 5.3])
def test_blurring_is_a_gaussian(radius: float) -> None:
    values = (_random(2, 1, 30, 25) > 0.5).float()
    expected = [ndimage.gaussian_filter(row[0].double().numpy(), radius, mode="nearest") for row in values]
    assert np.allclose(blur_mask(Mask(values), radius).values[:, 0].numpy(), np.stack(expected), atol=1e-6)
    assert torch.equal(blur_mask(Mask(values), 0).values, values)


@given(seed=st.integers(0, 1000), level=st.floats(0, 1))
def test_threshold_and_inversion(seed: int, level: float) -> None:
    mask = Mask(_random(1, 1, 4, 5, seed=seed))
    hard = threshold_mask(mask, level).values
    assert torch.equal(hard == 1, mask.values >= level)
    assert set(hard.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(invert_mask(invert_mask(mask)).values, mask.values)


def test_pasting_keeps_the_original_bit_for_bit() -> None:
    original, image = Image(_random(1, 3, 6, 8)), Image(_random(2, 3, 6, 8, seed=1))
    hard = Mask((_random(1, 1, 6, 8, seed=2) > 0.5).float())
    both = paste(original, image, hard).pixels
    inside = hard.values.bool().expand_as(image.pixels)
    assert torch.equal(both[inside], image.pixels[inside])
    assert torch.equal(both[~inside], original.pixels.expand_as(image.pixels)[~inside])
    half = paste(original, image, Mask(torch.full((1, 1, 6, 8), 0.5))).pixels
    torch.testing.assert_close(half, (original.pixels + image.pixels) / 2)


def test_sizes_that_differ_are_explained() -> None:
    image, mask = Image(_random(1, 3, 6, 8)), Mask(_random(1, 1, 6, 6))
    for call in (paste, masks._infer_paste):
        with pytest.raises(InputError, match=r"size of the picture, 8 x 6 pixels, got 6 x 6 pixels; `resize_mask`"):
            call(image, image, mask)
        with pytest.raises(InputError, match="size of `image`") as caught:
            call(Image(_random(1, 3, 4, 8)), image, mask)
        assert caught.value.port == "original"
