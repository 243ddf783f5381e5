"""Pictures in and out: files, sizes, grids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.types import Image, LatentSpace

Side = Annotated[int, Field(ge=0, le=16384)]
"""A width or height in pixels; 0 leaves the choice to the node."""


def preview(image: Image) -> bytes | None:
    """A small PNG of the first picture."""
    from nodes.pictures import png

    return png.thumbnail(image)


def _described(batch: int | None, height: int | None, width: int | None) -> Image:
    """Pictures of which only the size is known."""
    pixels: Any = TensorSpec((batch, 3, height, width))
    return Image(pixels)


def picture_file(path: Path) -> Path:
    """The real path of a picture file that this run may read."""
    found = runtime().readable(path)
    if not found.is_file():
        what = "a folder" if found.is_dir() else "no such file"
        raise InputError("path", expected="a picture file", got=f"{str(path)!r} ({what})", fix="check the path")
    return found


def _content(path: Path) -> str:
    return runtime().digest(picture_file(path))


def _infer_load(path: Path | None = None) -> Image:
    """The size is in the file's header."""
    if path is None:
        return _described(1, None, None)
    from nodes.pictures import pixels

    width, height = pixels.size(picture_file(path))
    return _described(1, height, width)


@node(category="image", fingerprint=_content, infer=_infer_load, preview=preview)
def load_image(path: Path) -> Image:
    """A picture from a file: PNG, JPEG, WebP, GIF (its first frame), BMP, TIFF or PPM.

    It is turned as its EXIF orientation says, what is transparent becomes white, grey and palette pictures become RGB.

    Returns:
        One picture, (1, 3, height, width).

    Raises:
        InputError: no picture file, a damaged one, or one of more than 64 million pixels.
    """
    from nodes.pictures import pixels

    return Image(pixels.load(picture_file(path)))


@node(category="image", pure=False)
def save_image(image: Image, name: Annotated[str, Field(min_length=1, max_length=200)] = "image") -> list[str]:
    """Write pictures as PNG below the output folder, with what made them in the metadata.

    Args:
        image: One picture becomes NAME.png, several become NAME_00.png, NAME_01.png, ...
        name: May hold folders, as in `sweep/cat`.

    Returns:
        The paths of the files.
    """
    here = runtime()
    stem = here.writable(name.removesuffix(".png"))
    stem.parent.mkdir(parents=True, exist_ok=True)
    return [str(path) for path in image.export(stem, here.provenance)]


def _infer_resize(
    image: Image | None = None, width: int | None = None, height: int | None = None, space: LatentSpace | None = None
) -> Image:
    batch, _, old_height, old_width = image.pixels.shape if image is not None else (None, 3, None, None)
    if width is None or height is None:
        return _described(batch, None, None)
    own = space.sample_size * space.downsampling if space is not None else None
    return _described(batch, height or own or old_height, width or own or old_width)


@node(category="image", infer=_infer_resize, preview=preview)
def resize_image(image: Image, width: Side = 0, height: Side = 0, space: LatentSpace | None = None) -> Image:
    """Resample to a width and height in pixels with a Lanczos filter, as the diffusers pipelines do with a picture.

    The result has 256 levels per channel, as a file would have. A picture that has the size already is left as it is.

    Args:
        image: Pictures of one size.
        width: 0 takes the size that `space` says; without `space`, the picture's own width.
        height: As `width`.
        space: The latent space of the model that the picture is for: its size is the one the model was trained for.

    Returns:
        Pictures, (batch, 3, height, width).
    """
    own = space.sample_size * space.downsampling if space is not None else None
    old_height, old_width = (int(side) for side in image.pixels.shape[-2:])
    width, height = width or own or old_width, height or own or old_height
    if (width, height) == (old_width, old_height):
        return image
    from nodes.pictures import pixels

    return Image(pixels.resize(image.pixels, width, height))


def _infer_grid(
    images: list[Image] | None = None, labels: list[str] | None = None, columns: int | None = None
) -> Image:
    return _described(1, None, None)


@node(category="image", infer=_infer_grid, preview=preview)
def image_grid(images: list[Image], labels: list[str] = [], columns: Side = 0) -> Image:  # noqa: B006 (a port's default)
    """Several pictures in one, row by row, on white, each with its label above it.

    Sizes may differ: a column is as wide as its widest picture or label, a row as high as its highest picture.

    Args:
        images: At least one; the pictures of a batch follow one another.
        labels: None, or one for each of `images` (all pictures of a batch have the label of their batch).
        columns: Pictures in a row; 0 makes the grid about square.

    Returns:
        One picture, (1, 3, height, width); the pictures in it are unchanged, pixel for pixel.
    """
    if not images:
        raise InputError("images", expected="at least one picture", got="an empty list")
    if labels and len(labels) != len(images):
        raise InputError("labels", expected=f"one label for each of the {len(images)} images", got=f"{len(labels)}")
    from nodes.pictures import grid

    texts = labels or [""] * len(images)
    cells = [(picture, text) for image, text in zip(images, texts, strict=True) for picture in image.pixels]
    return Image(grid.draw(cells, columns))


@node(category="text")
def label(name: str, number: int, unit: str = "") -> str:
    """A name and a number as one text, to stand above a picture: `step 3`, or with a unit `euler, 20 steps`."""
    return f"{name}, {number} {unit}" if unit else f"{name} {number}"


@node(category="lists")
def count(items: list[Any]) -> int:
    """How many items a list has (the number of columns of a grid, say)."""
    return len(items)
