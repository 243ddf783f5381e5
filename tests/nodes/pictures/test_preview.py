"""Colours of latents: planted maps are found exactly, and the embedded model's explain what it decodes."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from graphcore import InputError, TensorSpec
from nodes import fit_preview, load_model, load_vae, preview_latents, vae_decode, vae_encode
from nodes.pictures import autoencoder, synthetic
from nodes.types import Generators, Image, Latents, LatentSpace

preview = sys.modules["nodes.pictures.preview"]

SPACE = LatentSpace(4, 8, 0.18215, 64)


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_planted_linear_map_is_found() -> None:
    latents, factors, bias = _normal(3, 4, 8, 6), _normal(4, 3), torch.tensor([0.1, 0.2, 0.3])
    colours = torch.einsum("bchw,cd->bdhw", latents, factors) + bias[:, None, None]
    blocks = colours.repeat_interleave(2, 2).repeat_interleave(2, 3)
    texture = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 6)  # vanishes in the mean of each latent's pixels
    found, offset, explained = preview.fit(latents, blocks + texture)
    torch.testing.assert_close(found, factors, atol=1e-5, rtol=0)
    torch.testing.assert_close(offset, bias, atol=1e-5, rtol=0)
    assert explained == pytest.approx(1.0, abs=1e-9)


def test_what_is_not_explained_is_said() -> None:
    """Half of the variance is noise that has nothing to do with the latents."""
    latents = _normal(40, 1, 16, 16)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    *_, explained = preview.fit(latents, (latents + noise).expand(-1, 3, -1, -1))
    assert explained == pytest.approx(0.5, abs=0.03)


def test_a_planted_linear_autoencoder_is_seen_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoder: rgb = z F + b in squares of 2 x 2; encoder: its inverse on the mean colours."""
    vae = load_model("random:sd15").vae
    factors, bias = 0.1 * _normal(4, 3), torch.tensor([0.5, 0.4, 0.6])

    def encode(_vae: Any, values: torch.Tensor, _generators: Any, _count: int) -> torch.Tensor:
        colours = torch.nn.functional.avg_pool2d(values / 2 + 0.5, 2).movedim(1, -1)
        return ((colours - bias) @ torch.linalg.pinv(factors)).movedim(-1, 1)

    def decode(_vae: Any, samples: torch.Tensor) -> torch.Tensor:
        colours = torch.einsum("bchw,cd->bdhw", samples, factors) + bias[:, None, None]
        return colours.repeat_interleave(2, 2).repeat_interleave(2, 3)

    monkeypatch.setattr(autoencoder, "encode", encode)
    monkeypatch.setattr(autoencoder, "decode", decode)
    fitted = fit_preview(vae)
    assert fitted.r_squared == pytest.approx(1.0, abs=1e-6)
    image = Image(synthetic.pictures(32))
    latents = Latents(encode(vae, 2 * image.pixels - 1, None, 1), autoencoder.space(vae))
    shown = preview_latents(latents, fitted).pixels
    torch.testing.assert_close(shown, decode(vae, latents.samples).clamp(0, 1), atol=1e-4, rtol=0)


def test_pixels_are_their_own_preview() -> None:
    model = load_model("random:ddpm")
    fitted = fit_preview(model.vae)
    torch.testing.assert_close(fitted.factors, 0.5 * torch.eye(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(fitted.bias, torch.full((3,), 0.5), atol=1e-5, rtol=0)
    assert fitted.r_squared == pytest.approx(1.0)


def test_colours_of_the_embedded_model_explain_its_pictures() -> None:
    """On a picture that was not fitted on: a red ball on white, say, is red on white in the preview too."""
    model = load_model()
    fitted = fit_preview(model.vae, model.latent_space)
    assert fitted.r_squared > 0.8
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    ball = (rows**2 + columns**2 < 0.4).float()
    image = Image(torch.stack([torch.ones_like(ball), 1 - ball, 1 - ball])[None])
    latents = vae_encode(model.vae, image, Generators((0,)), sample=False).latents
    decoded = torch.nn.functional.avg_pool2d(vae_decode(model.vae, latents).pixels, 4)
    shown = preview_latents(latents, fitted, enlarge=False).pixels
    rest, spread = (shown - decoded).square().sum(), (decoded - decoded.mean((2, 3), keepdim=True)).square().sum()
    assert float(1 - rest / spread) > 0.7


@pytest.mark.parametrize("path", ["random:sd15", "random:ldm_class", "random:taesd"])
def test_every_class_of_autoencoder_can_be_fitted(path: str) -> None:
    vae = load_vae(path)
    fitted = fit_preview(vae)
    space = autoencoder.space(vae)
    assert fitted.factors.shape == (space.channels, 3)
    assert 0 <= fitted.r_squared <= 1
    assert torch.equal(fit_preview(vae).factors, fitted.factors)  # nothing random in it
    assert preview._infer_fit(vae).factors == TensorSpec((space.channels, 3))


@pytest.mark.parametrize("enlarge", [True, False])
def test_the_size_of_a_preview(enlarge: bool) -> None:
    factors = preview.PreviewFactors(_normal(4, 3), torch.zeros(3), SPACE, 1.0)
    latents = Latents(100 * _normal(2, 4, 5, 6), SPACE)
    shown = preview_latents(latents, factors, enlarge).pixels
    assert shown.shape == ((2, 3, 40, 48) if enlarge else (2, 3, 5, 6))
    assert preview._infer_preview(latents, factors, enlarge).pixels == TensorSpec(tuple(shown.shape))
    assert 0 <= float(shown.min()) < float(shown.max()) <= 1


def test_factors_of_another_space_are_refused() -> None:
    latents = Latents(_normal(1, 4, 5, 6), SPACE)
    factors = preview.PreviewFactors(_normal(4, 3), torch.zeros(3), replace(SPACE, scaling_factor=0.13025), 1.0)
    for call in (preview_latents, preview._infer_preview):
        with pytest.raises(InputError, match=r"scaling_factor 0.18215, got factors for scaling_factor 0.13025"):
            call(latents, factors)


def test_a_thumbnail_shows_the_channels_from_least_to_greatest() -> None:
    samples = torch.arange(2 * 4 * 3 * 2, dtype=torch.float32).reshape(2, 4, 3, 2)
    picture = np.asarray(Pillow.open(io.BytesIO(preview.latents_thumbnail(Latents(samples, SPACE)) or b"")))
    assert picture.shape == (3, 2, 3)
    assert picture[..., 0].ravel().tolist() == [0, 51, 102, 153, 204, 255]
    flat = Latents(torch.ones(1, 1, 3, 2), SPACE)
    assert not np.asarray(Pillow.open(io.BytesIO(preview.latents_thumbnail(flat) or b""))).any()
