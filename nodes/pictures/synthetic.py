"""Drawn pictures that show an autoencoder all kinds of colours, edges and textures: the same every time."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

EACH = 4
"""Pictures of each kind."""


def pictures(side: int) -> Tensor:
    """Gradients, shapes and soft noise: float32, (3 EACH, 3, side, side), values in [0, 1]."""
    random = torch.Generator().manual_seed(0)
    drawn = [kind(side, random) for _ in range(EACH) for kind in (_gradient, _shapes, _soft_noise)]
    return torch.stack(drawn)


def _colour(random: torch.Generator) -> Tensor:
    return torch.rand(3, 1, 1, generator=random)


def _grid(side: int) -> tuple[Tensor, Tensor]:
    places = torch.linspace(-1, 1, side)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    return rows, columns


def _gradient(side: int, random: torch.Generator) -> Tensor:
    """From one colour to another, in a random direction."""
    rows, columns = _grid(side)
    down, right = torch.randn(2, generator=random)
    share = torch.sigmoid(2 * (down * rows + right * columns))
    return torch.lerp(_colour(random).expand(3, side, side), _colour(random).expand(3, side, side), share)


def _shapes(side: int, random: torch.Generator) -> Tensor:
    """Discs and rectangles on a plain ground."""
    rows, columns = _grid(side)
    picture = _colour(random).expand(3, side, side)
    for number in range(6):
        (top, left), (height, width) = 2 * torch.rand(2, generator=random) - 1, torch.rand(2, generator=random)
        inside = ((rows - top).abs() < height) & ((columns - left).abs() < width)
        if number % 2:
            inside = (rows - top).square() + (columns - left).square() < height.square() / 2
        picture = torch.where(inside, _colour(random), picture)
    return picture


def _soft_noise(side: int, random: torch.Generator) -> Tensor:
    """Random colours at several scales."""
    picture = torch.zeros(1, 3, side, side)
    for cells in (2, 4, 8):
        noise = torch.randn(1, 3, cells, cells, generator=random)
        picture = picture + F.interpolate(noise, size=(side, side), mode="bicubic")
    return torch.sigmoid(picture[0])
