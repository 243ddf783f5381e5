"""Quick looks at latents: a linear map from their channels to colours, fitted once for an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphcore import InputError, TensorSpec, node
from nodes.models.handles import config_of
from nodes.pictures.images import preview
from nodes.types import Image, Latents, LatentSpace, VaeModel

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    Tensor = Any

SIDE = 16
"""Latents along a side of the pictures that factors are fitted on."""


@dataclass(frozen=True, eq=False)
class PreviewFactors:
    """Colours of latents: rgb = z F + b, values in [0, 1].

    Args:
        factors: F, float32, (channels, 3).
        bias: b, float32, (3,).
        space: The latent space that they are for.
        r_squared: Share of the colours' variance that the map explains on what it was fitted on; 1 is all of it.
    """

    factors: Tensor
    bias: Tensor
    space: LatentSpace
    r_squared: float


def latents_thumbnail(latents: Latents) -> bytes | None:
    """A small PNG of the first three channels of the first latents, each stretched to the whole range."""
    from nodes.pictures import png

    channels = latents.samples[:1, :3].detach().float()
    channels = channels if channels.shape[1] == 3 else channels[:, :1].expand(-1, 3, -1, -1)
    low, high = channels.amin((2, 3), keepdim=True), channels.amax((2, 3), keepdim=True)
    return png.thumbnail(Image((channels - low) / (high - low).clamp(min=1e-12)))


def _infer_fit(vae: VaeModel | None = None, space: LatentSpace | None = None) -> PreviewFactors | None:
    if vae is None:
        return None
    config_of(vae, "vae", "an autoencoder")
    from nodes.pictures import autoencoder

    found = space or autoencoder.space(vae)
    factors: Any = TensorSpec((found.channels, 3))
    bias: Any = TensorSpec((3,))
    return PreviewFactors(factors, bias, found, 1.0)


@node(category="latents", infer=_infer_fit)
def fit_preview(vae: VaeModel, space: LatentSpace | None = None, images: Image | None = None) -> PreviewFactors:
    """The linear map from latents to colours that is nearest to what an autoencoder decodes (least squares).

    Pictures are encoded (the mean of the posterior), decoded again, and averaged over the pixels of each latent; then
    rgb = z F + b is solved for F and b in closed form. No data is needed: the pictures are drawn here (gradients,
    shapes, soft noise), the same every time.

    Args:
        vae: From `load_model`; any class.
        space: The latent space of the model, where `vae` is another model's.
        images: Pictures to fit on instead, with sides that are multiples of the downsampling.

    Raises:
        InputError: the pictures' size does not fit.
    """
    from nodes.pictures import autoencoder, synthetic
    from nodes.pictures import vae as vaes

    scale = autoencoder.space(vae).downsampling
    pictures = images or Image(synthetic.pictures(SIDE * scale))
    vaes.check_image(vae, pictures, None)
    count = len(pictures)
    latents = autoencoder.encode(vae, 2.0 * pictures.pixels - 1.0, None, count)
    factors, bias, explained = fit(latents, autoencoder.decode(vae, latents))
    return PreviewFactors(factors, bias, space or autoencoder.space(vae), explained)


def fit(latents: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Least squares of pixels, averaged to the size of the latents, on latents.

    Args:
        latents: (batch, channels, height, width).
        pixels: (batch, 3, n height, n width).

    Returns:
        F (channels, 3), b (3,), and the share of variance that they explain.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812

    scale = pixels.shape[-1] // latents.shape[-1]
    inputs = latents.detach().cpu().double().movedim(1, -1).flatten(0, 2)
    colours = F.avg_pool2d(pixels.detach().cpu().double(), scale).movedim(1, -1).flatten(0, 2)
    mean, middle = inputs.mean(0), colours.mean(0)
    # SVD: the channels of an autoencoder that nobody trained may depend on each other.
    solution = torch.linalg.lstsq(inputs - mean, colours - middle, driver="gelsd").solution
    rest = (colours - middle - (inputs - mean) @ solution).square().sum()
    spread = (colours - middle).square().sum()
    explained = 1.0 - float(rest / spread) if spread > 0 else 1.0
    return solution.float(), (middle - mean @ solution).float(), explained


def _infer_preview(
    latents: Latents | None = None, factors: PreviewFactors | None = None, enlarge: bool | None = None
) -> Image | None:
    if latents is None or factors is None:
        return None
    _check(latents, factors)
    batch, _, *sides = latents.samples.shape
    scale = latents.space.downsampling if enlarge else 1
    known = (None if side is None or enlarge is None else side * scale for side in sides)
    pixels: Any = TensorSpec((batch, 3, *known))
    return Image(pixels)


@node(category="latents", infer=_infer_preview, preview=preview)
def preview_latents(latents: Latents, factors: PreviewFactors, enlarge: bool = True) -> Image:
    """A rough picture of latents, without the autoencoder: rgb = z F + b, clamped to [0, 1].

    Best of what the model thinks the picture is (`predict_original`): noisy latents give noisy pictures.

    Args:
        latents: (batch, channels, height, width), scaled as the UNet wants them.
        factors: From `fit_preview`.
        enlarge: Draw each latent as a square of as many pixels as it stands for; else one pixel for each latent.

    Raises:
        InputError: the factors are those of another latent space.
    """
    import torch

    _check(latents, factors)
    samples = latents.samples.float()
    colours = torch.einsum("bchw,cd->bdhw", samples, factors.factors.to(samples))
    pixels = colours + factors.bias.to(samples)[:, None, None]
    if enlarge:
        scale = latents.space.downsampling
        pixels = pixels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return Image(pixels.clamp(0, 1))


def _check(latents: Latents, factors: PreviewFactors) -> None:
    ours, theirs = latents.space, factors.space
    for name in ("channels", "scaling_factor", "shift_factor"):
        if getattr(ours, name) != getattr(theirs, name):
            raise InputError(
                "factors", expected=f"factors for latents with {name} {getattr(ours, name)}",
                got=f"factors for {name} {getattr(theirs, name)}",
                fix="fit them to the VAE of the model that makes the latents",
            )  # fmt: skip
