"""The small picture of super-resolution, as `LDMSuperResolutionPipeline` prepares it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion_superresolution as oracle
from PIL import Image as Pillow

from graphcore import InputError, TensorSpec
from graphcore.runtime import _notes
from nodes import encode_low_resolution, load_image
from nodes.types import Image, LatentSpace

low_resolution = sys.modules["nodes.conditioning.low_resolution"]
SPACE = LatentSpace(3, 4, 1.0, 16)


@pytest.fixture
def notes() -> Iterator[list[str]]:
    heard: list[str] = []
    token = _notes.set(heard.append)
    yield heard
    _notes.reset(token)


@pytest.mark.parametrize(("width", "height", "said"), [(64, 32, 0), (70, 45, 1)])
def test_it_is_the_picture_of_the_pipeline(
    tmp_path: Path, notes: list[str], width: int, height: int, said: int
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Pillow.fromarray(values).save(tmp_path / "small.png")
    image = load_image(tmp_path / "small.png")
    found = encode_low_resolution(image, SPACE)
    expected = oracle.preprocess(Pillow.open(tmp_path / "small.png"))
    assert torch.equal(found.conditioning.concat, expected)
    assert (found.width, found.height) == (256, 128)
    assert len(notes) == said
    inferred = low_resolution.infer(image, SPACE, 32)
    assert inferred.conditioning.concat == TensorSpec(tuple(expected.shape))
    assert inferred[1:] == found[1:]


def test_a_picture_that_is_too_small_is_refused() -> None:
    for refuse in (low_resolution.infer, encode_low_resolution):
        with pytest.raises(InputError, match="at least 32 pixels wide and high, got 20"):
            refuse(Image(torch.zeros(1, 3, 64, 20)), SPACE, 32)
