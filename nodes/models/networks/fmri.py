"""The encoder of brain activity: voxels in, the two conditions of MinD-Vis out. Heavy: import it inside functions only.

Source: Chen et al. 2023, "Seeing Beyond the Brain" (arXiv:2211.06956), and its code (zjc062/mind-vis).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid
from torch import Tensor, nn


class Encoded(NamedTuple):
    """What a UNet is conditioned on: `context` (batch, tokens, context_dim) and `vector` (batch, context_dim)."""

    context: Tensor
    vector: Tensor


class FmriEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """The encoder of masked brain modelling (without mask and class token), and the mapping to two conditions.

    Voxels are cut into patches, each patch becomes a token (a strided convolution) at a fixed sinusoidal position, and
    a vision transformer with norms before its blocks works on the tokens. Convolutions of width 1 over the token axis
    make as many tokens of them as a text has, and a linear layer gives them the width of the UNet's context. Two more
    convolutions over the tokens make one vector of them, the second condition: the UNet projects it and adds it to
    its time embedding (`class_embed_type` `simple_projection`, which is MinD-Vis' last linear layer).

    Args:
        num_voxels: Length of the input, a multiple of `patch_size` of at least two patches.
        patch_size: Voxels in a token.
        embed_dim: Width of the tokens, a multiple of 4 and of `num_heads`.
        depth, num_heads, mlp_ratio: Blocks, attention heads, and how much wider than a token the hidden layer of a
            block is.
        tokens: Tokens of the context, at least 2.
        context_dim: Width of the context and of the vector.

    Source: `fmri_encoder`, `cond_stage_model` and `time_embed_condtion` (so spelt) of the paper's code; the defaults
    are those of its configuration.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, num_voxels: int = 4656, patch_size: int = 16, embed_dim: int = 1024, depth: int = 24,
        num_heads: int = 16, mlp_ratio: float = 1.0, tokens: int = 77, context_dim: int = 512,
    ) -> None:  # fmt: skip
        super().__init__()
        patches = num_voxels // patch_size
        self.patch_embed = nn.Conv1d(1, embed_dim, patch_size, patch_size)
        positions = get_1d_sincos_pos_embed_from_grid(embed_dim, torch.arange(patches), output_type="pt")
        self.register_buffer("pos_embed", positions.float()[None])
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                embed_dim, num_heads, int(embed_dim * mlp_ratio), dropout=0.0, activation="gelu", batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(embed_dim)
        self.channel_mapper = nn.Sequential(nn.Conv1d(patches, patches // 2, 1), nn.Conv1d(patches // 2, tokens, 1))
        self.dim_mapper = nn.Linear(embed_dim, context_dim)
        self.vector_mapper = nn.Sequential(nn.Conv1d(tokens, tokens // 2, 1), nn.Conv1d(tokens // 2, 1, 1))

    def encode(self, voxels: Tensor) -> Tensor:
        """The tokens of the transformer, (batch, num_voxels / patch_size, embed_dim), of voxels (batch, num_voxels)."""
        tokens: Tensor = self.patch_embed(voxels[:, None]).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)  # type: ignore[no-any-return]

    def forward(self, voxels: Tensor) -> Encoded:
        """Both conditions of voxels (batch, num_voxels)."""
        context = self.dim_mapper(self.channel_mapper(self.encode(voxels)))
        return Encoded(context, self.vector_mapper(context)[:, 0])
