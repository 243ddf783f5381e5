"""Pictures of tensors that are none: latents in false colours, other numbers as a map of heat."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from PIL.Image import Image

Array: TypeAlias = Any
"""Of numpy, which is imported where something is drawn."""

LEAST, MOST = 128, 1024
"""Pixels of a side of a picture."""

PERCENTILES = (1, 99)
"""What becomes the darkest and the brightest: a few wild values leave the others visible."""

HEAT = ((13, 8, 60), (104, 18, 110), (188, 55, 84), (243, 120, 25), (252, 255, 164))
"""Colours from low to high, evenly spaced; their brightness grows, so that they can be told apart without hues."""


def draw(tensor: Any) -> bytes | None:
    """A PNG of the first item of a tensor; None where its shape says nothing to the eye.

    Args:
        tensor: (batch, channels, height, width): the first three channels as colours, or the first as grey;
            (batch, rows, columns) or (rows, columns): a map of heat.
    """
    from PIL.Image import fromarray

    if tensor.ndim not in (2, 3, 4) or not tensor.numel() or tensor.is_complex():
        return None
    numbers = tensor.detach().cpu().double().numpy()
    numbers = numbers[0] if numbers.ndim > 2 else numbers
    if numbers.ndim == 3:
        picture = fromarray(_false_colours(numbers))
        return _png(picture, _alike(*picture.size))
    picture = fromarray(_heat(numbers))
    return _png(picture, _apart(*picture.size))


def enlarged(png: bytes) -> bytes:
    """A picture with its pixels repeated until they can be seen; a large one as it is."""
    from PIL.Image import open as opened

    with opened(io.BytesIO(png)) as picture:
        factors = _alike(*picture.size)
        return png if factors == (1, 1) else _png(picture, factors)


def _png(picture: Image, factors: tuple[int, int]) -> bytes:
    """A PNG in which each pixel is repeated so often along both sides."""
    from PIL.Image import Resampling

    file = io.BytesIO()
    (width, height), (across, down) = picture.size, factors
    picture.resize((width * across, height * down), Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _false_colours(channels: Array) -> Array:
    """Three channels as red, green and blue, each from its own lowest to its highest; one or two as grey."""
    import numpy as np

    shown = np.stack([_unit(_thinned(channel)) for channel in channels[:3]], axis=-1)
    return _bytes(shown if len(channels) >= 3 else shown[..., 0])


def _heat(rows: Array) -> Array:
    import numpy as np

    levels, stops = _unit(_thinned(rows)), np.linspace(0, 1, len(HEAT))
    return _bytes(np.stack([np.interp(levels, stops, shades) / 255 for shades in zip(*HEAT, strict=True)], axis=-1))


def _bytes(shown: Array) -> Array:
    return (shown * 255).round().astype("uint8")


def _unit(numbers: Array) -> Array:
    """Numbers from 0 to 1. Where all but a few are one value, those few show; a constant from 0 to 1 stays as it is."""
    import numpy as np

    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return np.zeros_like(numbers)
    low, high = np.percentile(finite, PERCENTILES)
    if low == high:
        low, high = finite.min(), finite.max()
    if low == high:
        low, high = 0.0, 1.0
    return np.clip(np.nan_to_num((numbers - low) / (high - low), nan=0.0), 0.0, 1.0)


def _thinned(numbers: Array) -> Array:
    """As many rows and columns as a picture may have, those between left out."""
    rows, columns = (-(-side // MOST) for side in numbers.shape)
    return numbers[::rows, ::columns]


def _alike(width: int, height: int) -> tuple[int, int]:
    """How often each pixel is repeated, where both sides have one scale."""
    factor = max(1, min(-(-LEAST // min(width, height)), MOST // max(width, height)))
    return factor, factor


def _apart(width: int, height: int) -> tuple[int, int]:
    """How often each number is repeated along both sides; rows and columns of a map have no common scale."""
    return -(-LEAST // width), -(-LEAST // height)
