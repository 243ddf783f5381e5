"""Canny's edge detector, step by step as OpenCV's `Canny` does it. Heavy: import this inside functions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

FLAT, STEEP = np.tan(np.pi / 8), np.tan(3 * np.pi / 8)
"""Slopes between which a gradient counts as diagonal: 22.5 and 67.5 degrees."""

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def edges(pixels: Tensor, low: float, high: float) -> Tensor:
    """Edges of pictures, (batch, 3, height, width) in [0, 1]: float32, 0 or 1, the same in all three channels."""
    values = (pixels.cpu() * 255).round().to(torch.int64).numpy()
    found = np.stack([_edges(picture, low, high) for picture in values])
    return torch.from_numpy(found.astype(np.float32))[:, None].repeat(1, 3, 1, 1)


def _edges(picture: Integers, low: float, high: float) -> Booleans:
    """Edges of one picture, (3, height, width) of 0 .. 255."""
    down, right = (np.stack([ndimage.sobel(one, axis, mode="nearest") for one in picture]) for axis in (0, 1))
    strongest = (abs(down) + abs(right)).argmax(axis=0)[None]
    down, right = (np.take_along_axis(slope, strongest, axis=0)[0] for slope in (down, right))
    strength = abs(down) + abs(right)
    ridges = np.where(_is_ridge(strength, down, right), strength, 0)
    return _connected(ridges > low, ridges > high)


def _is_ridge(strength: Integers, down: Integers, right: Integers) -> Booleans:
    """Where the gradient is larger than at its two neighbours along it; of two equal ones in a row, the first."""
    padded = np.pad(strength, 1)
    height, width = strength.shape

    def beside(row: int, column: int) -> Any:
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    flat = abs(down) < abs(right) * FLAT
    steep = abs(down) > abs(right) * STEEP
    falling = (down < 0) == (right < 0)  # the gradient points to the lower right or the upper left
    across = np.where(falling, np.maximum(beside(-1, -1), beside(1, 1)), np.maximum(beside(-1, 1), beside(1, -1)))
    ridge: Booleans = strength > across
    ridge = np.where(steep, (strength > beside(-1, 0)) & (strength >= beside(1, 0)), ridge)
    return np.where(flat, (strength > beside(0, -1)) & (strength >= beside(0, 1)), ridge)


def _connected(weak: Booleans, strong: Booleans) -> Booleans:
    """The groups of weak pixels (touching at sides or corners) that hold a strong one."""
    labels, count = ndimage.label(weak, structure=np.ones((3, 3)))
    kept = np.zeros(count + 1, bool)
    kept[labels[strong]] = True
    kept[0] = False
    return np.asarray(kept[labels])
