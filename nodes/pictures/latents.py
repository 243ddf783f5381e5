"""Latents as pictures of their own: their size, and more of it."""

from __future__ import annotations

from typing import Any, Literal

from graphcore import InputError, TensorSpec, node
from nodes.pictures.preview import latents_thumbnail
from nodes.pictures.resizing import Scale, Size, scaled
from nodes.types import Latents

Mode = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]

LARGEST = 4096
"""Latents along a side beyond which a factor is surely a mistake (32768 pixels for Stable Diffusion)."""


def _infer_size(latents: Latents | None = None) -> Size | None:
    if latents is None:
        return None
    height, width = latents.samples.shape[-2:]
    return None if height is None or width is None else _size(latents)


@node(category="latents", infer=_infer_size)
def latents_size(latents: Latents) -> Size:
    """Width and height in pixels of the pictures that latents stand for, to make noise of their size, say."""
    return _size(latents)


def _size(latents: Latents) -> Size:
    height, width = (int(side) * latents.space.downsampling for side in latents.samples.shape[-2:])
    return Size(width, height)


def _infer_upscale(latents: Latents | None = None, scale: float | None = None) -> Latents | None:
    if latents is None or scale is None:
        return None
    batch, channels, *sides = latents.samples.shape
    larger = _sides(sides, scale)
    samples: Any = TensorSpec((batch, channels, *larger), str(getattr(latents.samples, "dtype", "float32")))
    return Latents(samples, latents.space)


@node(category="latents", infer=_infer_upscale, preview=latents_thumbnail)
def upscale_latents(latents: Latents, scale: Scale = 2.0, mode: Mode = "bicubic") -> Latents:
    """Interpolate latents to `scale` times their width and height, rounded to whole latents.

    Interpolated latents are no picture's latents: they decode to a blurred picture, whose details a second pass of
    denoising makes (strength 0.5 and more; smooth modes need less).

    Args:
        latents: (batch, channels, height, width).
        mode: As in `torch.nn.functional.interpolate`, without aligned corners and without antialiasing.

    Raises:
        InputError: nothing, or far too much, would be left.
    """
    import torch.nn.functional as F  # noqa: N812

    size = _sides(latents.samples.shape[-2:], scale)
    return Latents(F.interpolate(latents.samples, size=size, mode=mode), latents.space)


def _sides(sides: Any, scale: float) -> tuple[Any, ...]:
    """The scaled sides; None is not known."""
    found = tuple(None if side is None else scaled(int(side), scale) for side in sides)
    if max(side or 0 for side in found) > LARGEST:
        raise InputError(
            "scale", expected=f"at most {LARGEST} latents along a side", got=f"{scale:g}, which makes {found}",
            fix="lower `scale`",
        )  # fmt: skip
    return found
