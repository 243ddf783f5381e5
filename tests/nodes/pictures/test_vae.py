"""Pictures and latents: the same bits as the pipelines' decode and encode."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from graphcore import InputError, TensorSpec
from nodes import load_model, vae_decode, vae_encode
from nodes.types import Generators, Image, Latents, LatentSpace
from tests.nodes import tiny
from tests.nodes.conftest import TinyModel

vae = sys.modules["nodes.pictures.vae"]

LAYOUT = torch.channels_last
"""In which the pipelines' image processor gives pictures from files to the VAE (a tensor it gives as it is)."""


def _latents(space: LatentSpace, *shape: int) -> Latents:
    return Latents(torch.randn(shape, generator=torch.Generator().manual_seed(0)), space)


def _picture(*shape: int) -> Image:
    return Image(torch.rand(shape, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (3, 4, 8, 24)])
def test_decode_is_the_pipelines(tiny_model: TinyModel, shape: tuple[int, ...]) -> None:
    pipeline, path = tiny_model()
    model = load_model(path)
    latents = _latents(model.latent_space, *shape)
    with torch.no_grad():
        raw = pipeline.vae.decode(latents.samples / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    image = vae_decode(model.vae, latents)
    assert torch.equal(image.pixels, pipeline.image_processor.postprocess(raw, output_type="pt"))
    assert image.pixels.dtype == torch.float32
    assert vae.infer_decode(model.vae, latents).pixels == TensorSpec(tuple(image.pixels.shape))


def test_decode_of_the_embedded_model_is_the_pipelines(tiny_model: TinyModel) -> None:
    from diffusers import AutoencoderKL

    model = load_model()
    module = AutoencoderKL.from_pretrained(model.vae.folder, local_files_only=True, torch_dtype=torch.float32)
    latents = _latents(model.latent_space, 1, 4, 16, 16)
    with torch.no_grad():
        raw = module.decode(latents.samples / module.config.scaling_factor, return_dict=False)[0]
    expected = (raw / 2 + 0.5).clamp(0, 1)
    assert torch.equal(vae_decode(model.vae, latents).pixels, expected)


@pytest.mark.parametrize("pictures", [1, 3])
def test_encode_is_the_img2img_pipelines(tiny_model: TinyModel, pictures: int) -> None:
    pipeline, path = tiny_model()
    img2img = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    img2img.scheduler = _KeepLatents()
    image = _picture(pictures, 3, 32, 48)
    model = load_model(path)
    seeds = (5, 6, 7)
    oracle = [torch.Generator().manual_seed(seed) for seed in seeds]
    pixels = img2img.image_processor.preprocess(image.pixels).to(memory_format=LAYOUT)
    with torch.no_grad():
        expected = img2img.prepare_latents(pixels, None, 3, 1, torch.float32, torch.device("cpu"), oracle)
    encoded = vae_encode(model.vae, image, Generators(seeds))
    assert torch.equal(encoded.latents.samples, expected)
    assert encoded.generators.seeds == seeds
    assert encoded.generators.states is not None
    for seed, state in zip(seeds, encoded.generators.states, strict=True):
        drawn = torch.Generator().manual_seed(seed)
        torch.randn(expected.shape[1:], generator=drawn)  # one draw of the posterior's noise
        assert torch.equal(state, drawn.get_state())
    inferred = vae.infer_encode(model.vae, image, Generators(seeds))
    assert inferred.latents.samples.shape == tuple(expected.shape)


class _KeepLatents:
    """Stands for a scheduler where only the encoding counts."""

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timestep: object) -> torch.Tensor:
        return latents


def test_image_k_of_a_batch_is_image_k_alone(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    image = _picture(2, 3, 32, 32)
    both = vae_encode(model.vae, image, Generators((8, 9)))
    alone = vae_encode(model.vae, Image(image.pixels[1:]), Generators((9,)))
    assert torch.equal(both.latents.samples[1:], alone.latents.samples)
    again = vae_encode(model.vae, image, both.generators)  # the state has moved on: other draws
    assert not torch.equal(again.latents.samples, both.latents.samples)


def test_encode_then_decode_keeps_the_space(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    image = _picture(1, 3, 32, 32)
    encoded = vae_encode(model.vae, image, Generators((0,)))
    assert (encoded.latents.space.channels, encoded.latents.space.scaling_factor) == (4, 0.18215)
    assert vae_decode(model.vae, encoded.latents).pixels.shape == image.pixels.shape


def test_a_shift_is_added_and_taken_away(tmp_path: Path) -> None:
    pipeline = tiny.tiny_pipeline(vae={"shift_factor": 0.1, "scaling_factor": 0.5})
    model = load_model(tiny.save(pipeline, tmp_path))
    latents = _latents(model.latent_space, 1, 4, 16, 16)
    with torch.no_grad():
        raw = pipeline.vae.decode(latents.samples / 0.5 + 0.1).sample
        posterior = pipeline.vae.encode((2 * _picture(1, 3, 32, 32).pixels - 1).to(memory_format=LAYOUT)).latent_dist
    assert torch.equal(vae_decode(model.vae, latents).pixels, (raw / 2 + 0.5).clamp(0, 1))
    encoded = vae_encode(model.vae, _picture(1, 3, 32, 32), Generators((3,)))
    expected = (posterior.sample(torch.Generator().manual_seed(3)) - 0.1) * 0.5
    assert torch.equal(encoded.latents.samples, expected)


@pytest.mark.parametrize(("force_upcast", "dtype", "runs_in"), [
    (True, "float16", "float32"), (False, "float16", "float16"), (True, "bfloat16", "bfloat16"),
])  # fmt: skip
def test_a_vae_that_overflows_in_half_precision_runs_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force_upcast: bool, dtype: str, runs_in: str
) -> None:
    pipeline = tiny.tiny_pipeline(vae={"force_upcast": force_upcast})
    model = load_model(tiny.save(pipeline, tmp_path))
    handle = replace(model.vae, dtype=dtype)
    seen: list[torch.dtype] = []
    decode = vae._decode

    def watched(module: Any, samples: torch.Tensor) -> torch.Tensor:
        seen.extend([module.dtype, samples.dtype])
        return decode(module, samples)  # type: ignore[no-any-return]

    monkeypatch.setattr(vae, "_decode", watched)
    latents = _latents(model.latent_space, 1, 4, 16, 16)
    half = Latents(latents.samples.to(getattr(torch, dtype)), latents.space)
    assert vae_decode(handle, half).pixels.dtype == torch.float32
    assert set(seen) == {getattr(torch, runs_in)}
    encoded = vae_encode(handle, _picture(1, 3, 32, 32), Generators((0,)))
    assert encoded.latents.samples.dtype == getattr(torch, dtype)


def test_short_memory_decodes_one_by_one(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, path = tiny_model()
    model = load_model(path)
    latents = _latents(model.latent_space, 3, 4, 16, 16)
    alone = [vae_decode(model.vae, Latents(row[None], latents.space)).pixels for row in latents.samples]

    class Small:
        dtype = torch.float32

        def decode(self, samples: torch.Tensor, return_dict: bool) -> Any:
            if len(samples) > 1:
                raise torch.OutOfMemoryError("no room")
            return pipeline.vae.decode(samples, return_dict=return_dict)

    with torch.no_grad():
        pixels = vae._decode(Small(), latents.samples / model.latent_space.scaling_factor)
    assert torch.equal((pixels * 0.5 + 0.5).clamp(0, 1), torch.cat(alone))


def test_latents_of_another_model_are_refused(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    other = load_model().latent_space
    good = model.latent_space
    for latents, message in (
        (_latents(good, 1, 8, 16, 16), r"\(batch, 4, height, width\), got \(1, 8, 16, 16\)"),
        (_latents(good, 4, 16, 16), r"got \(4, 16, 16\)"),
        (_latents(other, 1, 4, 16, 16), "downsampling 2, as the VAE's, got downsampling 4"),
        (_latents(replace(good, scaling_factor=0.5), 1, 4, 16, 16), "scaling_factor 0.18215.*got scaling_factor 0.5"),
    ):
        for call in (vae_decode, vae.infer_decode):
            with pytest.raises(InputError, match=message) as caught:
                call(model.vae, latents)
            assert caught.value.port == "latents"


@pytest.mark.parametrize(
    ("shape", "seeds", "port", "message"),
    [
        ((1, 3, 33, 31), (0,), "image", r"multiples of 2, got 31 x 33 pixels; `resize_image` makes 30 x 32"),
        ((1, 3, 1, 32), (0,), "image", r"makes 32 x 2"),
        ((1, 4, 32, 32), (0,), "image", r"picture \(batch, 3, height, width\), got \(1, 4, 32, 32\)"),
        ((2, 3, 32, 32), (0,), "generators", r"as many generators as pictures \(2\), got 1; .*`batch_size` 2"),
        ((2, 3, 32, 32), (0, 1, 2), "generators", r"pictures \(2\), got 3"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    tiny_model: TinyModel, shape: tuple[int, ...], seeds: tuple[int, ...], port: str, message: str
) -> None:
    model = load_model(tiny_model()[1])
    described = Image(TensorSpec(shape))  # type: ignore[arg-type]
    for call, image in ((vae_encode, _picture(*shape)), (vae.infer_encode, described)):
        with pytest.raises(InputError, match=message) as caught:
            call(model.vae, image, Generators(seeds))
        assert caught.value.port == port


def test_what_is_not_known_passes(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    image = vae.infer_decode(model.vae, Latents(TensorSpec((None, 4, None, 16)), model.latent_space))  # type: ignore[arg-type]
    assert image.pixels == TensorSpec((None, 3, None, 32))
    encoded = vae.infer_encode(model.vae, Image(TensorSpec((1, 3, None, 32))))  # type: ignore[arg-type]
    assert encoded.latents.samples == TensorSpec((None, 4, None, 16))
    assert encoded.generators is None
    assert vae.infer_decode() is None
    assert vae.infer_encode() is None


def test_pixels_stay_within_0_and_1(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    latents = _latents(model.latent_space, 1, 4, 16, 16)
    pixels = vae_decode(model.vae, replace(latents, samples=latents.samples * 1e3)).pixels.numpy()
    assert np.all((pixels >= 0) & (pixels <= 1))
