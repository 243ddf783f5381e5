"""Larger pictures and latents: against NumPy, Pillow and torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from graphcore import InputError, TensorSpec
from nodes import image_size, latents_size, pad_image, upscale_image, upscale_latents
from nodes.pictures import pixels
from nodes.types import Image, Latents, LatentSpace

resizing = sys.modules["nodes.pictures.resizing"]
larger = sys.modules["nodes.pictures.latents"]

SPACE = LatentSpace(4, 8, 0.18215, 64)
ROOM = st.integers(0, 9)


def _random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_sizes_are_width_and_height_in_pixels() -> None:
    assert image_size(Image(_random(1, 3, 6, 8))) == (8, 6)
    assert latents_size(Latents(_random(1, 4, 6, 8), SPACE)) == (64, 48)
    unknown: Any = TensorSpec((1, 3, None, 8))
    assert resizing._infer_size(Image(unknown)) is None
    assert larger._infer_size(Latents(unknown, SPACE)) is None


@pytest.mark.parametrize(("scale", "size"), [(2.0, (26, 34)), (1.5, (20, 26)), (0.5, (6, 8))])
def test_pictures_are_scaled_with_lanczos(scale: float, size: tuple[int, int]) -> None:
    image = Image(pixels.from_pictures(pixels.to_pictures(_random(1, 3, 13, 17))))
    expected = pixels.to_pictures(image.pixels)[0].resize(size[::-1], Pillow.Resampling.LANCZOS)
    found = upscale_image(image, scale)
    assert np.array_equal(np.asarray(pixels.to_pictures(found.pixels)[0]), np.asarray(expected))
    assert resizing._infer_upscale(image, scale).pixels == TensorSpec(tuple(found.pixels.shape))


def test_a_scaled_picture_fits_the_model() -> None:
    image = Image(_random(1, 3, 40, 56))
    found = upscale_image(image, 1.4, SPACE).pixels.shape
    assert found == (1, 3, 56, 80)  # 56 and 78.4, as multiples of 8
    assert resizing._infer_upscale(image, 1.4, SPACE).pixels == TensorSpec(tuple(found))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_latents_are_interpolated(mode: Any) -> None:
    latents = Latents(_random(2, 4, 5, 6), SPACE)
    expected = torch.nn.functional.interpolate(latents.samples, size=(8, 9), mode=mode)
    found = upscale_latents(latents, 1.5, mode)
    assert torch.equal(found.samples, expected)
    assert found.space is SPACE
    assert tuple(larger._infer_upscale(latents, 1.5).samples.shape) == (2, 4, 8, 9)


def test_a_factor_that_is_surely_a_mistake_is_refused() -> None:
    latents = Latents(_random(1, 4, 512, 8), SPACE)
    for call in (upscale_latents, larger._infer_upscale):
        with pytest.raises(InputError, match="at most 4096"):
            call(latents, 16.0)


@settings(max_examples=40, deadline=None)
@given(left=ROOM, right=ROOM, top=ROOM, bottom=ROOM, fill=st.sampled_from(["edge", "mirror", "grey"]))
def test_room_is_numpys_padding(left: int, right: int, top: int, bottom: int, fill: Any) -> None:
    image = Image(_random(2, 3, 5, 4))
    padded, mask = pad_image(image, left, right, top, bottom, fill)
    width = ((0, 0), (0, 0), (top, bottom), (left, right))
    options = {"mode": {"edge": "edge", "mirror": "symmetric"}[fill]} if fill != "grey" else {"constant_values": 0.5}
    assert np.array_equal(padded.pixels.numpy(), np.pad(image.pixels.numpy(), width, **options))
    kept = np.pad(np.zeros((1, 1, 5, 4)), width, constant_values=1)
    assert np.array_equal(mask.values.numpy(), kept)
    inferred = resizing._infer_pad(image, left, right, top, bottom)
    assert inferred.image.pixels == TensorSpec(tuple(padded.pixels.shape))
    assert inferred.mask.values == TensorSpec(tuple(mask.values.shape))


def test_room_is_added_until_the_model_can_make_it() -> None:
    image = Image(_random(1, 3, 16, 24))
    padded, mask = pad_image(image, left=5, top=8, space=SPACE)
    assert padded.pixels.shape == (1, 3, 24, 32)
    assert torch.equal(padded.pixels[:, :, 8:, 5:29], image.pixels)
    assert mask.values[0, 0, 10].tolist() == [1] * 5 + [0] * 24 + [1] * 3
    assert resizing._infer_pad(image, 5, 0, 8, 0, space=SPACE).image.pixels == TensorSpec((1, 3, 24, 32))


def test_the_overlap_is_repainted_only_where_there_is_room() -> None:
    mask = pad_image(Image(_random(1, 3, 6, 8)), right=2, overlap=3).mask.values[0, 0]
    assert torch.equal(mask, torch.tensor([0.0] * 5 + [1.0] * 5).expand(6, 10))
