"""Larger pictures: scaled up, or with room at their sides for outpainting."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from graphcore import TensorSpec, node
from nodes.pictures.images import Side, preview
from nodes.pictures.masks import mask_of
from nodes.types import Image, LatentSpace, Mask

Scale = Annotated[float, Field(gt=0, le=16)]
Fill = Literal["edge", "mirror", "grey"]

GREY = 0.5


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Padded(NamedTuple):
    """A picture with room at its sides, and the mask of that room."""

    image: Image
    mask: Mask


def _infer_size(image: Image | None = None) -> Size | None:
    if image is None:
        return None
    height, width = image.pixels.shape[-2:]
    return None if height is None or width is None else Size(int(width), int(height))


@node(category="image", infer=_infer_size)
def image_size(image: Image) -> Size:
    """Width and height of a picture in pixels, to make noise or a mask of its size, say."""
    height, width = image.pixels.shape[-2:]
    return Size(int(width), int(height))


def scaled(size: int, scale: float, multiple: int = 1) -> int:
    """A side times `scale`, as the nearest multiple (at least one)."""
    return max(1, round(size * scale / multiple)) * multiple


def _infer_upscale(
    image: Image | None = None, scale: float | None = None, space: LatentSpace | None = None
) -> Image | None:
    if image is None or scale is None:
        return None
    multiple = 1 if space is None else space.downsampling
    batch, _, *sides = image.pixels.shape
    pixels: Any = TensorSpec((batch, 3, *(None if side is None else scaled(side, scale, multiple) for side in sides)))
    return Image(pixels)


@node(category="image", infer=_infer_upscale, preview=preview)
def upscale_image(image: Image, scale: Scale = 2.0, space: LatentSpace | None = None) -> Image:
    """Resample to `scale` times the width and height with a Lanczos filter, to 256 levels per channel.

    Args:
        space: The latent space of a model that is to work on the result: the sides become multiples of its
            downsampling, as its autoencoder wants.

    Returns:
        Pictures, (batch, 3, height, width).
    """
    from nodes.pictures import pixels

    multiple = 1 if space is None else space.downsampling
    height, width = (scaled(int(side), scale, multiple) for side in image.pixels.shape[-2:])
    if (height, width) == tuple(image.pixels.shape[-2:]):
        return image
    return Image(pixels.resize(image.pixels, width, height))


def _infer_pad(
    image: Image | None = None, left: int | None = None, right: int | None = None, top: int | None = None,
    bottom: int | None = None, space: LatentSpace | None = None,
) -> Padded | None:  # fmt: skip
    if image is None or left is None or right is None or top is None or bottom is None:
        return None
    batch, _, height, width = image.pixels.shape
    sides = [
        None if side is None else side + sum(_round(side, *room, 1 if space is None else space.downsampling))
        for side, room in ((height, (top, bottom)), (width, (left, right)))
    ]
    pixels: Any = TensorSpec((batch, 3, *sides))
    return Padded(Image(pixels), mask_of(1, *sides))


@node(category="image", infer=_infer_pad, preview=lambda padded: preview(padded.image))
def pad_image(
    image: Image, left: Side = 0, right: Side = 0, top: Side = 0, bottom: Side = 0, fill: Fill = "edge",
    overlap: Side = 0, space: LatentSpace | None = None,
) -> Padded:  # fmt: skip
    """Room at the sides of a picture, and the mask that says so: what outpainting repaints.

    Args:
        left, right, top, bottom: Pixels of room at each side.
        fill: What the room shows before it is repainted: the pixels of the border drawn out (`edge`), the picture
            reflected (`mirror`), or `grey`. Where image-to-image starts from it (strength below 1), this is seen.
        overlap: Pixels of the picture along the new room that are repainted too, so that no seam is left.
        space: The latent space of the model: room is added at the right and at the bottom until the sides are
            multiples of its downsampling.

    Returns:
        The picture, (batch, 3, height, width), and its mask, (1, 1, height, width): 1 in the room.
    """
    import torch

    height, width = (int(side) for side in image.pixels.shape[-2:])
    multiple = 1 if space is None else space.downsampling
    top, bottom = _round(height, top, bottom, multiple)
    left, right = _round(width, left, right, multiple)
    rows, columns = _source(height, top, bottom, fill), _source(width, left, right, fill)
    pixels = image.pixels[:, :, torch.tensor(rows)][:, :, :, torch.tensor(columns)]
    room = torch.ones(1, 1, height + top + bottom, width + left + right)
    room[:, :, top : top + height, left : left + width] = 0
    if fill == "grey":
        pixels = torch.where(room.to(pixels.device) > 0, torch.full_like(pixels, GREY), pixels)
    inner = [overlap if side else 0 for side in (top, bottom, left, right)]
    mask = torch.ones_like(room)
    mask[:, :, top + inner[0] : top + height - inner[1], left + inner[2] : left + width - inner[3]] = 0
    return Padded(Image(pixels.contiguous()), Mask(mask))


def _round(side: int, before: int, after: int, multiple: int) -> tuple[int, int]:
    """The room before and after a side, so that the whole is a multiple."""
    return before, after + -(side + before + after) % multiple


def _source(side: int, before: int, after: int, fill: str) -> list[int]:
    """For each place of a padded side, the place of the picture that it shows."""
    places = range(-before, side + after)
    if fill != "mirror":
        return [min(max(place, 0), side - 1) for place in places]
    period = 2 * side  # the picture, then its reflection
    return [min(place % period, period - 1 - place % period) for place in places]
