"""Masks: which part of a picture is to be repainted. 1 (white) is repainted, 0 (black) is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.pictures.images import Side, picture_file, preview
from nodes.sampling.schedule import Share
from nodes.types import Image, LatentSpace, Mask

if TYPE_CHECKING:
    import torch

Pixels = Annotated[int, Field(ge=-1024, le=1024)]
Radius = Annotated[float, Field(ge=0, le=256)]


def mask_preview(mask: Mask) -> bytes | None:
    """A small PNG of the first mask."""
    return preview(Image(mask.values.expand(-1, 3, -1, -1)))


def mask_of(batch: int | None, height: int | None, width: int | None) -> Mask:
    """Masks of which only the size is known."""
    values: Any = TensorSpec((batch, 1, height, width))
    return Mask(values)


def _content(path: Path) -> str:
    return runtime().digest(picture_file(path))


def _infer_load(path: Path | None = None) -> Mask:
    """The size is in the file's header."""
    if path is None:
        return mask_of(1, None, None)
    from nodes.pictures import pixels

    width, height = pixels.size(picture_file(path))
    return mask_of(1, height, width)


@node(category="mask", fingerprint=_content, infer=_infer_load, preview=mask_preview)
def load_mask(path: Path) -> Mask:
    """A mask from a picture file: white is to be repainted, black is kept, grey is between (see `threshold_mask`).

    The brightness of a colour picture counts; what is transparent is kept.

    Returns:
        One mask, (1, 1, height, width), values in [0, 1].

    Raises:
        InputError: no picture file, or a damaged one.
    """
    from nodes.pictures import pixels

    return Mask(pixels.load_grey(picture_file(path)))


@node(category="mask", fingerprint=_content, infer=_infer_load, preview=mask_preview)
def mask_from_alpha(path: Path) -> Mask:
    """A mask from the transparency of a picture file: what is erased there is to be repainted.

    Returns:
        One mask, (1, 1, height, width): 1 - alpha; 0 everywhere where the file has no transparency.

    Raises:
        InputError: no picture file, or a damaged one.
    """
    from nodes.pictures import pixels

    return Mask(1.0 - pixels.load_alpha(picture_file(path)))


def _infer_same(mask: Mask | None = None) -> Mask | None:
    return mask


@node(category="mask", infer=_infer_same, preview=mask_preview)
def invert_mask(mask: Mask) -> Mask:
    """Repaint what was to be kept, and keep what was to be repainted: 1 - mask."""
    return Mask(1.0 - mask.values)


@node(category="mask", infer=_infer_same, preview=mask_preview)
def threshold_mask(mask: Mask, level: Share = 0.5) -> Mask:
    """A hard mask: 1 where the mask is at least `level`, else 0; the inpainting pipelines of diffusers take 0.5."""
    return Mask((mask.values >= level).to(mask.values.dtype))


@node(category="mask", infer=_infer_same, preview=mask_preview)
def grow_mask(mask: Mask, pixels: Pixels = 8) -> Mask:
    """Grow the part to repaint by a number of pixels on every side, corners included; shrink it where negative.

    Each value becomes the greatest (smallest) within the square of 2 |pixels| + 1 around it. The border of the
    picture is no edge of the mask: nothing shrinks from there.
    """
    import torch.nn.functional as F  # noqa: N812 (torch's own name for it)

    side = abs(pixels)
    sign = 1 if pixels >= 0 else -1
    values = mask.values
    for kernel in ((2 * side + 1, 1), (1, 2 * side + 1)):
        values = sign * F.max_pool2d(sign * values, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return Mask(values)


@node(category="mask", infer=_infer_same, preview=mask_preview)
def blur_mask(mask: Mask, radius: Radius = 4.0) -> Mask:
    """A soft edge: Gaussian blur with a standard deviation of `radius` pixels; 0 leaves the mask as it is.

    Beyond the border of the picture the mask goes on as it is at the border. A soft mask is for `blend_latents` and
    `paste`; models with nine input channels were trained with hard ones.
    """
    if radius == 0:
        return mask
    return Mask(_blurred(mask.values, radius).clamp(0, 1))


def _blurred(values: torch.Tensor, sigma: float) -> torch.Tensor:
    """Separable Gaussian, cut off at 4 sigma."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    reach = int(4 * sigma + 0.5)
    distances = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (distances / sigma) ** 2)
    weights = (weights / weights.sum()).to(values)
    padded = F.pad(values, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))


def _infer_resize(
    mask: Mask | None = None, width: int | None = None, height: int | None = None, space: LatentSpace | None = None
) -> Mask | None:
    if mask is None or width is None or height is None:
        return None
    batch, _, old_height, old_width = mask.values.shape
    own = space.sample_size * space.downsampling if space is not None else None
    return mask_of(batch, height or own or old_height, width or own or old_width)


@node(category="mask", infer=_infer_resize, preview=mask_preview)
def resize_mask(mask: Mask, width: Side = 0, height: Side = 0, space: LatentSpace | None = None) -> Mask:
    """Resample a mask as `resize_image` does its picture: with a Lanczos filter, to 256 levels.

    Edges get grey; `threshold_mask` makes them hard again, as the diffusers pipelines do.

    Args:
        width, height: In pixels; 0 takes the size that `space` says; without `space`, the mask's own.
        space: The latent space of the model that the picture is for.
    """
    own = space.sample_size * space.downsampling if space is not None else None
    old_height, old_width = (int(side) for side in mask.values.shape[-2:])
    width, height = width or own or old_width, height or own or old_height
    if (width, height) == (old_width, old_height):
        return mask
    from nodes.pictures import pixels

    return Mask(pixels.resize_grey(mask.values, width, height))


def _infer_paste(original: Image | None = None, image: Image | None = None, mask: Mask | None = None) -> Image | None:
    if original is not None and image is not None:
        _check_paste(original, image)
    if image is not None and mask is not None:
        check_size(mask, image)
    return image


@node(category="mask", infer=_infer_paste, preview=preview)
def paste(original: Image, image: Image, mask: Mask) -> Image:
    """Put the pixels that were to be kept back into a repainted picture: mask * image + (1 - mask) * original.

    The way through an autoencoder changes also what was to be kept; where the mask is 0 the result is the original,
    bit for bit. A soft mask (`blur_mask`) hides the seam.

    Args:
        original, image: Of one size; one original serves all pictures.
        mask: Of their size; one mask serves all.

    Raises:
        InputError: the sizes differ.
    """
    _check_paste(original, image)
    check_size(mask, image)
    values = mask.values.to(image.pixels)
    return Image(values * image.pixels + (1 - values) * original.pixels.to(image.pixels))


def _check_paste(original: Image, image: Image) -> None:
    ours, theirs = tuple(image.pixels.shape), tuple(original.pixels.shape)
    if not _fits(theirs, ours):
        raise InputError(
            "original", expected=f"a picture of the size of `image`, {_say(ours)}", got=_say(theirs),
            fix="link the picture that was repainted, after `resize_image`",
        )  # fmt: skip


def at_size(mask: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """A mask at the size of latents: every so many pixels one, as the pipelines take it (`nearest`)."""
    import torch.nn.functional as F  # noqa: N812

    size = tuple(latents.shape[-2:])
    return mask if tuple(mask.shape[-2:]) == size else F.interpolate(mask, size=size)


def check_size(mask: Mask, image: Image) -> None:
    """Refuse a mask of another size than its picture.

    Raises:
        InputError: on port `mask`.
    """
    picture, shape = tuple(image.pixels.shape), tuple(mask.values.shape)
    if not _fits(shape, picture):
        height, width = picture[2:]
        raise InputError(
            "mask", expected=f"a mask of the size of the picture, {_say(picture)}", got=_say(shape),
            fix=f"`resize_mask` makes {width} x {height}",
        )  # fmt: skip


def _fits(shape: tuple[int | None, ...], picture: tuple[int | None, ...]) -> bool:
    """Whether sizes agree, and rows are one or as many (None is not known)."""
    sizes = all(a is None or b is None or a == b for a, b in zip(shape[2:], picture[2:], strict=True))
    return sizes and (shape[0] in (None, 1) or picture[0] in (None, shape[0]))


def _say(shape: tuple[int | None, ...]) -> str:
    height, width = ("?" if size is None else size for size in shape[2:])
    rows = f"{shape[0]} of " if shape[0] not in (None, 1) else ""
    return f"{rows}{width} x {height} pixels"
