"""The small trained modules of latent diffusion that encode a condition which is no text.

Their tensors have the names of CompVis' `ldm/modules/encoders/modules.py`, so that those checkpoints load.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class ClassEmbedder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """A table with one context token per class; the last row is the null class, which stands for "no class".

    Args:
        embed_dim: Width of the token: the UNet's `cross_attention_dim`.
        n_classes: Rows, the null class among them: 1001 for ImageNet (arXiv:2112.10752, appendix E.2).
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, embed_dim: int = 512, n_classes: int = 1001) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_classes, embed_dim)

    def forward(self, labels: Tensor) -> Tensor:
        """Class numbers, int64 (batch,), to context, (batch, 1, embed_dim)."""
        token: Tensor = self.embedding(labels[:, None])
        return token


class SpatialRescaler(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Shrinks a map to the size of the latents and mixes its channels: the condition of LDM's semantic synthesis.

    Args:
        n_stages: How many times it is resized.
        method: Of `torch.nn.functional.interpolate`.
        multiplier: Scale of one resizing.
        in_channels: Channels of the map: classes, where it is one-hot (182 for COCO-Stuff).
        out_channels: Channels after the 1 x 1 convolution; None leaves the map as it is.
        bias: Whether that convolution has one.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, n_stages: int = 1, method: str = "bilinear", multiplier: float = 0.5, in_channels: int = 3,
        out_channels: int | None = None, bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if out_channels is not None:
            self.channel_mapper = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, values: Tensor) -> Tensor:
        """A map, (batch, in_channels, height, width), to one of `multiplier ** n_stages` times its size."""
        config: Any = self.config
        for _ in range(config.n_stages):
            values = torch.nn.functional.interpolate(values, scale_factor=config.multiplier, mode=config.method)
        return values if config.out_channels is None else self.channel_mapper(values)
