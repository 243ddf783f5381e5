"""SDXL's numbers: those that its pipelines make, and nothing for other models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from graphcore import InputError, TensorSpec
from nodes import add_sizes, encode_text, in_steps, load_model, together, tokenize
from nodes.conditioning.sizes import infer
from nodes.types import Conditioning, Latents
from tests.parity.parts import parts

NO_EXTRAS = {"feature_extractor": None, "image_encoder": None, "add_watermarker": False}


def base() -> Any:
    own = parts("random:sdxl")
    return StableDiffusionXLPipeline(**own, **NO_EXTRAS)


def refiner() -> Any:
    own = parts("random:sdxl_refiner")
    own["text_encoder_2"], own["text_encoder"] = own["text_encoder"], None
    own["tokenizer_2"], own["tokenizer"] = own["tokenizer"], None
    return StableDiffusionXLImg2ImgPipeline(**own, **NO_EXTRAS, requires_aesthetics_score=True)


def encoded(model: Any) -> Conditioning:
    return encode_text(model.text_encoder, tokenize(model.tokenizer, "a cat"))


def latents(model: Any, height: int = 24, width: int = 40) -> Latents:
    return Latents(torch.zeros(2, 4, height, width), model.latent_space)


SIZES = [
    ({}, (48, 80), (0, 0), (48, 80)),
    (
        {"original_width": 1920, "original_height": 1080, "crop_left": 7, "crop_top": 3, "target_width": 640,
         "target_height": 512},
        (1080, 1920), (3, 7), (512, 640),
    ),
    ({"original_width": 100}, (48, 100), (0, 0), (48, 80)),
]  # fmt: skip


@pytest.mark.parametrize(("given", "original", "crop", "target"), SIZES)
def test_numbers_are_those_of_the_base_pipeline(given: Any, original: Any, crop: Any, target: Any) -> None:
    model = load_model("random:sdxl")
    found = add_sizes(model.unet, encoded(model), latents(model), **given).time_ids
    expected = base()._get_add_time_ids(original, crop, target, torch.float32, 40)
    assert found is not None
    assert torch.equal(found, expected)
    assert found.dtype == torch.float32


@pytest.mark.parametrize(("given", "original", "crop", "target"), SIZES)
def test_numbers_are_those_of_the_refiner_pipeline(given: Any, original: Any, crop: Any, target: Any) -> None:
    model = load_model("random:sdxl_refiner")
    pair = refiner()._get_add_time_ids(
        original, crop, target, 6.0, 2.5, original, crop, target, torch.float32, text_encoder_projection_dim=40
    )
    for score, expected in zip((6.0, 2.5), pair, strict=True):
        found = add_sizes(model.unet, encoded(model), latents(model), **given, aesthetic_score=score).time_ids
        assert found is not None
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["sd15", "sd21", "ldm_text2img"])
def test_other_models_get_none(name: str) -> None:
    model = load_model(f"random:{name}")
    conditioning = encoded(model)
    assert add_sizes(model.unet, conditioning, latents(model)) is conditioning
    assert infer(model.unet, conditioning, latents(model)) is conditioning


@pytest.mark.parametrize(("name", "count"), [("sdxl", 6), ("sdxl_refiner", 5)])
def test_what_is_inferred_is_what_is_made(name: str, count: int) -> None:
    model = load_model(f"random:{name}")
    vector: Any = TensorSpec((1, 40))
    inferred = infer(model.unet, Conditioning(vector=vector), None)
    made = add_sizes(model.unet, encoded(model), latents(model))
    assert inferred is not None
    assert made.time_ids is not None
    assert inferred.time_ids == TensorSpec((1, count), "float32") == TensorSpec(tuple(made.time_ids.shape), "float32")


def test_regions_get_them_each() -> None:
    model = load_model("random:sdxl")
    both = together(in_steps(encoded(model), 0, 0.5), in_steps(encoded(model), 0.5, 1))
    found = add_sizes(model.unet, both, latents(model))
    assert [(r.start, r.end) for r in found.regions] == [(0.0, 0.5), (0.5, 1.0)]
    for region in found.regions:
        assert region.conditioning.time_ids is not None
    assert found.time_ids is None


def test_text_of_another_model_is_refused_before_the_run() -> None:
    model, other = load_model("random:sdxl"), load_model("random:sd15")
    for call in (infer, add_sizes):
        with pytest.raises(InputError, match="pooled text") as caught:
            call(model.unet, encoded(other), latents(model))
        assert caught.value.port == "conditioning"
        with pytest.raises(InputError, match="width 40"):
            call(model.unet, Conditioning(vector=torch.zeros(1, 41)), latents(model))
