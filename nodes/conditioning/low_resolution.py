"""A small picture as a condition: super-resolution by further input channels of the UNet (LDM's `concat`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node, note
from nodes.types import Conditioning, Image, LatentSpace

Resample = Literal["lanczos", "bicubic"]
Multiple = Annotated[int, Field(ge=1, le=64)]


class LowResolution(NamedTuple):
    """Channels for the UNet, and the size in pixels of the picture to be made."""

    conditioning: Conditioning
    width: int
    height: int


def infer(
    image: Image | None = None, space: LatentSpace | None = None, multiple: int | None = None
) -> LowResolution | None:
    """The shape of the channels and the size of the picture to be made."""
    if image is None or space is None or multiple is None:
        return None
    batch, _, *sides = image.pixels.shape
    if None in sides:
        return None
    height, width = (_rounded(int(side), multiple) for side in sides)
    concat: Any = TensorSpec((batch, 3, height, width))
    return LowResolution(Conditioning(concat=concat), width * space.downsampling, height * space.downsampling)


@node(category="conditioning", infer=infer)
def encode_low_resolution(
    image: Image, space: LatentSpace, multiple: Multiple = 32, resample: Resample = "lanczos"
) -> LowResolution:
    """A picture to enlarge, in [-1, 1], as three more channels beside the latents.

    It is as wide and high as the latents, so that the picture to be made has `downsampling` times as many pixels along
    each side: four times, for the published models. Link `width` and `height` to `init_noise`. Sides that are no
    multiple of `multiple` are resampled to the next smaller one, and a note says so.

    Args:
        image: Values in [0, 1], (batch, 3, height, width), at least `multiple` pixels each way; one serves all images.
        space: The latent space of the model.
        multiple: Of what the sides are to be multiples, in pixels: 32 as in `LDMSuperResolutionPipeline`, 4 as in
            `StableDiffusionUpscalePipeline`.
        resample: How they are resampled: `lanczos` in the former, `bicubic` in the latter.

    Returns:
        `concat`, (batch, 3, height, width), and the size of the picture to be made.

    Raises:
        InputError: the picture is too small.

    Source: Rombach et al. 2022 (arXiv:2112.10752), sec. 4.4; `LDMSuperResolutionPipeline`,
        `StableDiffusionUpscalePipeline`.
    """
    height, width = (int(side) for side in image.pixels.shape[2:])
    size, pixels = (_rounded(width, multiple), _rounded(height, multiple)), image.pixels
    if size != (width, height):
        from nodes.pictures import pixels as resampling

        note(f"the picture of {width} x {height} pixels is resampled to {size[0]} x {size[1]}, multiples of {multiple}")
        pixels = resampling.resize(pixels, *size, resample)
    concat = Conditioning(concat=2.0 * pixels - 1.0)
    return LowResolution(concat, size[0] * space.downsampling, size[1] * space.downsampling)


def _rounded(side: int, multiple: int) -> int:
    if side < multiple:
        raise InputError(
            "image", expected=f"a picture at least {multiple} pixels wide and high", got=f"{side} pixels",
            fix="`resize_image` makes a larger one of it",
        )  # fmt: skip
    return side // multiple * multiple
