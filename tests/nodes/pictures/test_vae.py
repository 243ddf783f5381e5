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
from graphcore.runtime import _notes
from nodes import load_model, load_vae, vae_decode, vae_encode
from nodes.models.adapters import patches
from nodes.models.memory import weights
from nodes.pictures import autoencoder
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


@pytest.mark.parametrize(
    ("value", "said"),
    [(3e38, "autoencoder left the range of float32"), (float("nan"), "latents are not finite"), (1.0, "")],
)
def test_a_picture_of_no_numbers_is_not_black_without_a_word(value: float, said: str) -> None:
    model, heard = load_model("random:sd15"), list[str]()
    token = _notes.set(heard.append)
    try:
        pixels = vae_decode(model.vae, Latents(torch.full((1, 4, 8, 8), value), model.latent_space)).pixels
    finally:
        _notes.reset(token)
    assert bool(pixels.isnan().any()) == bool(said)
    assert len(heard) == bool(said)
    assert all(said in note for note in heard)


def test_decode_of_the_embedded_model_is_the_pipelines(tiny_model: TinyModel) -> None:
    from diffusers import AutoencoderKL

    model = load_model()
    module = AutoencoderKL.from_pretrained(model.vae.source, local_files_only=True, torch_dtype=torch.float32)
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
    decode = autoencoder.decode_rows

    def watched(module: Any, samples: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
        seen.extend([module.dtype, samples.dtype])
        return decode(module, samples, *more, **options)

    monkeypatch.setattr(autoencoder, "decode_rows", watched)
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
        pixels = autoencoder.decode_rows(Small(), latents.samples / model.latent_space.scaling_factor, Small)
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


def test_a_pixel_space_only_changes_the_range() -> None:
    """As `DDPMPipeline` does: (x / 2 + 0.5) clamped; nothing is drawn."""
    model = load_model("random:ddpm")
    image = _picture(1, 3, 20, 12)
    encoded = vae_encode(model.vae, image, Generators((1, 2)))
    assert torch.equal(encoded.latents.samples, (2 * image.pixels - 1).repeat(2, 1, 1, 1))
    _nothing_drawn(encoded.generators)
    latents = Latents(3 * _latents(model.latent_space, 1, 3, 20, 12).samples, model.latent_space)
    assert torch.equal(vae_decode(model.vae, latents).pixels, (latents.samples / 2 + 0.5).clamp(0, 1))


def _nothing_drawn(generators: Generators) -> None:
    assert generators.states is not None
    for seed, state in zip(generators.seeds, generators.states, strict=True):
        assert torch.equal(state, torch.Generator().manual_seed(seed).get_state())


def test_a_vq_model_quantises_and_draws_nothing() -> None:
    """As `LDMSuperResolutionPipeline` decodes: `vqvae.decode(latents)`, clamped."""
    model = load_model("random:ldm_super_resolution")
    latents, image = _latents(model.latent_space, 2, 3, 8, 6), _picture(1, 3, 32, 24)
    with weights.use(model.vae) as module, torch.no_grad():
        expected = module.decode(latents.samples).sample.clamp(-1, 1) / 2 + 0.5
        encoding = module.encode((2 * image.pixels - 1).to(memory_format=LAYOUT)).latents
        unquantised = module.decode(latents.samples, force_not_quantize=True).sample.clamp(-1, 1) / 2 + 0.5
    pixels = vae_decode(model.vae, latents).pixels
    assert torch.equal(pixels, expected)
    assert not torch.equal(pixels, unquantised)
    encoded = vae_encode(model.vae, image, Generators((0,)))
    assert torch.equal(encoded.latents.samples, encoding)
    assert encoded.latents.space.scaling_factor == 1
    _nothing_drawn(encoded.generators)


def test_a_tiny_autoencoder_takes_the_latents_of_any_scaling() -> None:
    """Its latents are the scaled ones: no factor is applied, whatever the space says."""
    sd, tiny_vae = load_model("random:sd15").latent_space, load_vae("random:taesd")
    latents, image = _latents(sd, 1, 4, 16, 16), _picture(1, 3, 32, 32)
    with weights.use(tiny_vae) as module, torch.no_grad():
        decoded = module.decode(latents.samples).sample
        encoding = module.encode((2 * image.pixels - 1).to(memory_format=LAYOUT)).latents
    assert torch.equal(vae_decode(tiny_vae, latents).pixels, (decoded / 2 + 0.5).clamp(0, 1))
    encoded = vae_encode(tiny_vae, image, Generators((0,)), space=sd)
    assert torch.equal(encoded.latents.samples, encoding)
    assert encoded.latents.space is sd
    assert vae.infer_encode(tiny_vae, image, Generators((0,)), sd).latents.space is sd


def test_an_autoencoder_of_another_space_is_refused() -> None:
    model, other = load_model("random:sdxl"), load_model("random:sd15").vae
    image, generators = _picture(1, 3, 32, 32), Generators((0,))
    for call in (vae_encode, vae.infer_encode):
        with pytest.raises(InputError, match=r"scaling_factor 0.18215.*got scaling_factor 0.13025"):
            call(other, image, generators, model.latent_space)
        with pytest.raises(InputError, match="3 latent channels"):
            call(other, image, generators, load_model("random:ldm_class").latent_space)


def test_the_mean_of_the_posterior_draws_nothing() -> None:
    model, image = load_model("random:sd15"), _picture(1, 3, 32, 32)
    generators = Generators((0, 1))
    encoded = vae_encode(model.vae, image, generators, sample=False)
    with weights.use(model.vae) as module, torch.no_grad():
        posterior = module.encode((2 * image.pixels - 1).to(memory_format=LAYOUT)).latent_dist
    assert torch.equal(encoded.latents.samples, (0.18215 * posterior.mean).repeat(2, 1, 1, 1))
    assert encoded.generators is generators


def test_tiles_are_those_of_diffusers_and_leave_the_shared_module_alone() -> None:
    model = load_model("random:sd15")
    latents, image = _latents(model.latent_space, 1, 4, 40, 24), _picture(1, 3, 80, 48)
    with weights.use(model.vae) as module, torch.no_grad():
        oracle = patches.copy_modules(module)
        oracle.enable_tiling()
        decoded = oracle.decode(latents.samples / 0.18215).sample
        posterior = oracle.encode((2 * image.pixels - 1).to(memory_format=LAYOUT)).latent_dist
        tiled = vae_decode(model.vae, latents, tiled=True).pixels
        encoded = vae_encode(model.vae, image, Generators((4,)), tiled=True).latents.samples
        assert not module.use_tiling
    assert torch.equal(tiled, (decoded / 2 + 0.5).clamp(0, 1))
    assert torch.equal(encoded, 0.18215 * posterior.sample(torch.Generator().manual_seed(4)))
    assert not torch.equal(tiled, vae_decode(model.vae, latents).pixels)


def test_memory_too_short_for_one_image_decodes_in_tiles() -> None:
    class Full:
        def decode(self, samples: torch.Tensor, return_dict: bool) -> Any:
            raise torch.OutOfMemoryError("no room")

    class Tiles:
        def decode(self, samples: torch.Tensor, return_dict: bool) -> Any:
            assert len(samples) == 1
            return (samples + 1,)

    samples = torch.rand(3, 4, 2, 2)
    assert torch.equal(autoencoder.decode_rows(Full(), samples, Tiles), samples + 1)


def test_what_has_no_tiles_says_so() -> None:
    model = load_model("random:ldm_super_resolution")
    with pytest.raises(InputError, match=r"AutoencoderKL.*got VQModel") as caught:
        vae_decode(model.vae, _latents(model.latent_space, 1, 3, 8, 8), tiled=True)
    assert caught.value.port == "tiled"
