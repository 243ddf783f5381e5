"""A sheet of labelled pictures: layout and drawing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from nodes.pictures import pixels

GAP = 6
"""Pixels between the pictures and around them."""

MIN_LETTERS = 16
"""A line of a label holds at least so many letters, however narrow its picture is."""

LONGEST_WORD = 32
"""Letters of a word that stay on one line."""

MAX_LINES = 4
"""Lines of a label that are drawn."""

INK = (40, 40, 40)


@dataclass(frozen=True)
class Tile:
    """A picture and its drawn label, each (3, height, width); the label of height 0 where there is none."""

    label: Tensor
    picture: Tensor

    @property
    def width(self) -> int:
        return max(self.label.shape[2], self.picture.shape[2])


def draw(cells: Sequence[tuple[Tensor, str]], columns: int = 0) -> Tensor:
    """Pictures (3, height, width) with their labels, row by row on white.

    Args:
        cells: At least one.
        columns: Pictures in a row; 0 makes the sheet about square.

    Returns:
        (1, 3, height, width) on the CPU.
    """
    columns = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    tiles = [Tile(_label(text, picture.shape[2]), picture.detach().cpu().float()) for picture, text in cells]
    widths = [max(tile.width for tile in tiles[column::columns]) for column in range(columns)]
    rows = [_row(tiles[start : start + columns], widths) for start in range(0, len(tiles), columns)]
    return torch.cat([*rows, torch.ones(3, GAP, rows[0].shape[2])], dim=1)[None]


def _row(tiles: Sequence[Tile], widths: Sequence[int]) -> Tensor:
    """One row with a gap above it and at both sides; labels stand on the pictures' upper edge."""
    top = GAP + max(tile.label.shape[1] for tile in tiles)
    height = top + max(tile.picture.shape[1] for tile in tiles)
    row, left = torch.ones(3, height, sum(widths) + GAP * (len(widths) + 1)), GAP
    for tile, width in zip(tiles, widths, strict=False):
        _paste(row, tile.label, top - tile.label.shape[1], left, width)
        _paste(row, tile.picture, top, left, width)
        left += width + GAP
    return row


def _paste(sheet: Tensor, picture: Tensor, top: int, left: int, width: int) -> None:
    """Write a picture into the sheet, in the middle of a column of the given width."""
    _, own_height, own_width = picture.shape
    left += (width - own_width) // 2
    sheet[:, top : top + own_height, left : left + own_width] = picture


def _label(text: str, width: int) -> Tensor:
    """A text drawn with Pillow's own font, sized and wrapped for a picture of the given width."""
    if not text.strip():
        return torch.ones(3, 0, 0)
    points = max(11, width // 24)
    longest = max(map(len, text.split()))
    letters = max(MIN_LETTERS, 2 * width // points, min(longest, LONGEST_WORD))
    lines = "\n".join(textwrap.wrap(text, letters, max_lines=MAX_LINES, placeholder=" ..."))
    font = ImageFont.load_default(points)
    left, top, right, bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), lines, font)
    size = (math.ceil(right - left) + 2, math.ceil(bottom - top) + points // 2)
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).multiline_text((1 - left, -top), lines, INK, font, align="center")
    return pixels.from_pictures([picture])[0]
