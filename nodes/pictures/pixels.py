"""Between Pillow's pictures and tensors of pixels: float32, (batch, 3, height, width), values in [0, 1].

torch is imported where tensors are made: the checker reads the sizes of pictures without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from graphcore import InputError

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that Pillow decodes by itself (EPS, say, would start another program)."""

MAX_PIXELS = 64_000_000
"""More pixels are refused: a small file may unpack to gigabytes."""

WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)


def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture file as `load` will give it; reads the header only."""
    with opened(path) as picture:
        turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        width, height = picture.size
        return (height, width) if turned else (width, height)


def load(path: Path) -> Tensor:
    """The pixels of a picture file, (1, 3, height, width), upright and opaque."""
    with opened(path) as picture:
        return from_pictures([_rgb(ImageOps.exif_transpose(picture))])


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An open picture of bearable size; whatever Pillow finds wrong with it becomes one clear error."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            _check_size(path, *picture.size)
            yield picture
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, str(error)) from error
    except UnidentifiedImageError as error:
        fix = "convert it to PNG"
        raise InputError(
            "path", expected=f"a picture ({', '.join(FORMATS)})", got=f"{path.name!r}, which is none", fix=fix
        ) from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them raise
        got = f"{path.name!r}, which cannot be read: {type(error).__name__}: {error}"
        raise InputError("path", expected="an undamaged picture", got=got, fix="save it anew") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"{width} x {height}")


def _too_large(path: Path, got: str) -> InputError:
    expected = f"a picture of at most {MAX_PIXELS:,} pixels"
    return InputError("path", expected=expected, got=f"{path.name!r}: {got}", fix="make it smaller first")


def _rgb(picture: Image.Image) -> Image.Image:
    """Any mode as RGB; transparent parts over white, 16 and 32 bits per channel scaled down."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(picture)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture)
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grey values of 16 bits (or of 32, if they need them), or floats in [0, 1], as 0 .. 255."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float64))
    if picture.mode != "F":
        values = values / (65535 if values.max(initial=0) <= 65535 else 2**31 - 1)
    return np.round(values.clip(0, 1) * 255).astype(np.uint8)


def from_pictures(pictures: list[Image.Image]) -> Tensor:
    """RGB pictures of one size as float32 (batch, 3, height, width): value / 255."""
    import torch

    values = np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255.0
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """Pixels as RGB pictures of 256 levels, rounded as diffusers does; NaN becomes black."""
    import torch

    values = torch.nan_to_num(pixels.detach().cpu().float()).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(picture) for picture in (values * 255).round().astype(np.uint8)]


def resize(pixels: Tensor, width: int, height: int, resample: str = "lanczos") -> Tensor:
    """Resampling of 256-level pictures, as `VaeImageProcessor.resize` of diffusers does."""
    kind = Image.Resampling[resample.upper()]
    return from_pictures([picture.resize((width, height), kind) for picture in to_pictures(pixels)])


def load_grey(path: Path) -> Tensor:
    """The brightness of a picture file, (1, 1, height, width); what is transparent is black."""
    with opened(path) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, BLACK), picture)
        if picture.mode.startswith(("I", "F")):
            picture = Image.fromarray(_eight_bits(picture))
        return from_grey([picture.convert("L")])


def load_alpha(path: Path) -> Tensor:
    """How opaque a picture file is, (1, 1, height, width); 1 everywhere where it has no transparency."""
    with opened(path) as picture:
        picture = ImageOps.exif_transpose(picture)
        return from_grey([picture.convert("RGBA").getchannel("A")])


def from_grey(pictures: list[Image.Image]) -> Tensor:
    """Grey pictures of one size as float32 (batch, 1, height, width): value / 255."""
    import torch

    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255.0)[:, None]


def to_grey(values: Tensor) -> list[Image.Image]:
    """Values (batch, 1, height, width) in [0, 1] as grey pictures of 256 levels."""
    levels = (values.detach().cpu().float().clamp(0, 1)[:, 0].numpy() * 255).round().astype(np.uint8)
    return [Image.fromarray(picture) for picture in levels]


def resize_grey(values: Tensor, width: int, height: int) -> Tensor:
    """Lanczos resampling of 256-level grey pictures, as `VaeImageProcessor` does with a mask."""
    return from_grey([picture.resize((width, height), Image.Resampling.LANCZOS) for picture in to_grey(values)])
