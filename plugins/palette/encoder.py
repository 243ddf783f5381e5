"""The encoder proper, in torch. Imported by the node when it runs."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from nodes.types import Conditioning, UNetModel

from .colors import Lab

FREQUENCIES = (1.0, 2.0, 4.0, 8.0)
"""Half periods of the Fourier features over the unit interval."""

SEED = 20200401
"""Of the projection. It stands where trained weights would: another seed is another, equally meaningless language."""


def features(colors: list[Lab]) -> Tensor:
    """Fourier features of colours, float32 (colours, 24): sin and cos at four frequencies of three coordinates."""
    angles = torch.tensor(colors)[:, :, None] * (math.pi * torch.tensor(FREQUENCIES))
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)


def project(colors: list[Lab], width: int) -> Tensor:
    """One token per colour, float32 (colours, width), of about unit variance; a fixed function of each colour."""
    seen = features(colors)
    drawn = torch.randn(seen.shape[1], width, generator=torch.Generator().manual_seed(SEED))
    return seen @ drawn * math.sqrt(2 / seen.shape[1])  # sin^2 + cos^2 = 1: half of the features' squares sum to this


def with_tokens(text: Conditioning, colors: list[Lab], width: int, strength: float, unet: UNetModel) -> Conditioning:
    """`text` with one token per colour after its own: context (batch, tokens + colours, width)."""
    tokens = _placed(strength * project(colors, width), unet)[None]
    if text.context is None:
        return replace(text, context=tokens)
    tokens = tokens.to(text.context).expand(text.context.shape[0], -1, -1)
    mask = text.context_mask
    if mask is not None:
        mask = torch.cat([mask, mask.new_ones(mask.shape[0], len(colors))], dim=1)
    return replace(text, context=torch.cat([text.context, tokens], dim=1), context_mask=mask)


def with_vector(text: Conditioning, colors: list[Lab], width: int, strength: float, unet: UNetModel) -> Conditioning:
    """`text` with the mean of the colours' tokens added to its vector: (batch, width)."""
    vector = _placed(strength * project(colors, width).mean(0, keepdim=True), unet)
    if text.vector is not None:
        vector = text.vector + vector.to(text.vector)
    elif text.context is not None:
        vector = vector.expand(text.context.shape[0], -1)
    return replace(text, vector=vector)


def _placed(tensor: Tensor, unet: UNetModel) -> Tensor:
    return tensor.to(unet.device, getattr(torch, unet.dtype))
