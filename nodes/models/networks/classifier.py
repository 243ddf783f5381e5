"""A classifier of noisy pictures: the encoder half of a diffusion UNet, and a pooling head.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D, get_down_block
from torch import Tensor, nn


class NoisyClassifier(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """Classes of pictures at any noise level: convolution, down blocks and middle block as in `UNet2DModel`, then
    normalisation, the mean over all places, and one layer.

    As `EncoderUNetModel` with `pool="adaptive"` in the code of arXiv:2105.05233.

    Args:
        sample_size: Height and width for which it was trained.
        in_channels: Of the pictures or latents.
        num_classes: Classes that it tells apart.
        block_out_channels, down_block_types, layers_per_block, attention_head_dim, norm_num_groups, norm_eps,
            flip_sin_to_cos, freq_shift, resnet_time_scale_shift: As in `UNet2DModel`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int = 64,
        in_channels: int = 3,
        num_classes: int = 1000,
        block_out_channels: Sequence[int] = (128, 256, 384, 512),
        down_block_types: Sequence[str] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        layers_per_block: int = 2,
        attention_head_dim: int = 64,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        flip_sin_to_cos: bool = True,
        freq_shift: int = 0,
        resnet_time_scale_shift: str = "default",
    ) -> None:
        super().__init__()
        widths, embedded = list(block_out_channels), 4 * block_out_channels[0]
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(widths[0], embedded)
        common: dict[str, Any] = {
            "temb_channels": embedded, "resnet_eps": norm_eps, "resnet_groups": norm_num_groups,
            "attention_head_dim": attention_head_dim, "resnet_time_scale_shift": resnet_time_scale_shift,
        }  # fmt: skip
        levels = enumerate(zip(down_block_types, [widths[0], *widths[:-1]], widths, strict=True))
        self.down_blocks = nn.ModuleList(
            get_down_block(
                kind, num_layers=layers_per_block, in_channels=before, out_channels=width, resnet_act_fn="silu",
                add_downsample=level < len(widths) - 1, downsample_padding=1, downsample_type="conv", **common,
            )
            for level, (kind, before, width) in levels
        )  # fmt: skip
        self.mid_block = UNetMidBlock2D(in_channels=widths[-1], **common)
        self.norm_out = nn.GroupNorm(norm_num_groups, widths[-1], eps=norm_eps)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """Noisy pictures, (batch, in_channels, height, width), to the logits of the classes, (batch, num_classes)."""
        embedding = self.time_embedding(self.time_proj(timestep.expand(len(sample)).to(sample.device)).to(sample.dtype))
        hidden = self.conv_in(sample)
        for block in self.down_blocks:
            hidden, _ = block(hidden, embedding)
        hidden = nn.functional.silu(self.norm_out(self.mid_block(hidden, embedding)))
        logits: Tensor = self.head(hidden.mean(dim=(2, 3)))
        return logits


def gradient(classify: Callable[[Tensor], Tensor], samples: Tensor, class_label: int) -> Tensor:
    """The gradient, by the samples, of the log-probability of a class.

    Args:
        classify: Samples (batch, ...) to logits (batch, classes); each row by itself.
        samples: Left as they are; no gradient flows beyond them.

    Returns:
        The same shape as `samples`.
    """
    with torch.enable_grad():
        points = samples.detach().clone().requires_grad_(True)
        chosen = torch.log_softmax(classify(points), dim=-1)[:, class_label].sum()
        [found] = torch.autograd.grad(chosen, points)
    return found.detach()
