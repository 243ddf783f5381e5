"""Maps of classes as pictures: read from files, and drawn for people. Torch is imported where tensors are made."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from graphcore import InputError
from nodes.pictures import pixels

if TYPE_CHECKING:
    from torch import Tensor

MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
"""Modes of Pillow in which a pixel is one whole number."""

GOLDEN = 0.618034
"""Share of the colour circle from one class to the next: neighbours in number are far apart in colour."""


def size(path: Path) -> tuple[int, int]:
    """Width and height of a map; reads the header only."""
    with pixels.opened(path) as picture:
        _check(path, picture)
        return picture.size


def load(path: Path) -> Tensor:
    """The class numbers of a map, int64 (1, height, width)."""
    import torch

    with pixels.opened(path) as picture:
        _check(path, picture)
        return torch.from_numpy(np.asarray(picture).astype(np.int64))[None]


def colours(ids: Tensor) -> Tensor:
    """A picture of a map, float32 (batch, 3, height, width): a colour for each class, black for 0."""
    import torch

    found = torch.unique(ids)
    table = torch.tensor([colorsys.hsv_to_rgb(int(one) * GOLDEN % 1, 0.7, 0.9 if one else 0.0) for one in found])
    return table[torch.searchsorted(found, ids)].permute(0, 3, 1, 2).contiguous()


def _check(path: Path, picture: Image.Image) -> None:
    if picture.mode not in MODES:
        raise InputError(
            "path", expected="a picture of class numbers (grey, or with a palette)",
            got=f"{path.name!r} in colours ({picture.mode})",
            fix="save it with a palette, or in grey with the numbers of the classes as values",
        )  # fmt: skip
