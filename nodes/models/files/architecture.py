"""The configuration of a model part, read off the shapes of its tensors, which have the names of CompVis' LDM code.

What no shape tells is what the published models have in common: 8 heads where attention is projected by convolutions
(Stable Diffusion 1) or there is a table of classes (the x4 upscaler), 64 channels a head where it is projected by
linear layers (Stable Diffusion 2, XL) and in CLIP.
Names are given without the prefix that they have in a checkpoint of a whole model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shapes = Mapping[str, Sequence[int]]
"""Name of each tensor: its sides."""

CLASSES = "label_emb.weight"
HEADS = 8
HEAD_CHANNELS = 64
SIZE_EMBEDDING = 256
"""Width of the sinusoidal embedding of each of SDXL's sizes and crops."""

OPEN_CLIP_H_LAYERS = 24
"""Layers of OpenCLIP ViT-H, of which Stable Diffusion 2 uses all but the last."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One resolution of a UNet: channels, layers, and transformer blocks in each attention (0 for none)."""

    channels: int
    layers: int
    depth: int


def unet(shapes: Shapes) -> dict[str, Any]:
    """Configuration of a UNet2DConditionModel.

    Raises:
        KeyError: a tensor is not there that every such model has.
        ValueError: the layers are of another build.
    """
    down = _half(shapes)
    return {
        **down, "out_channels": shapes["out.2.weight"][0],
        "up_block_types": [
            "CrossAttnUpBlock2D" if kind == "CrossAttnDownBlock2D" else "UpBlock2D"
            for kind in reversed(down["down_block_types"])
        ],
    }  # fmt: skip


def controlnet(shapes: Shapes) -> dict[str, Any]:
    """Configuration of a ControlNetModel.

    Raises:
        KeyError, ValueError: as `unet`.
    """
    embedding = [shapes[f"input_hint_block.{index}.weight"][0] for index in (0, 4, 8, 12)]
    return {
        **_half(shapes), "conditioning_channels": shapes["input_hint_block.0.weight"][1],
        "conditioning_embedding_out_channels": embedding,
    }  # fmt: skip


def vae(shapes: Shapes) -> dict[str, Any]:
    """Configuration of an AutoencoderKL.

    Raises:
        KeyError, ValueError: as `unet`.
    """
    levels = _count(shapes, r"encoder\.down\.(\d+)\.block\.")
    channels = [shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)]
    quantised = "quant_conv.weight" in shapes
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1], "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["decoder.conv_in.weight"][1], "block_out_channels": channels,
        "layers_per_block": _count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels,
        "use_quant_conv": quantised, "use_post_quant_conv": quantised,
    }  # fmt: skip


def clip(shapes: Shapes) -> dict[str, Any]:
    """Configuration of a CLIPTextModel that has transformers' names (Stable Diffusion 1, first encoder of XL).

    Raises:
        KeyError, ValueError: as `unet`.
    """
    tokens, width = shapes["embeddings.token_embedding.weight"]
    return _text(
        tokens, width, shapes["encoder.layers.0.mlp.fc1.weight"][0], _count(shapes, r"encoder\.layers\.(\d+)\."),
        shapes["embeddings.position_embedding.weight"][0], "quick_gelu", width,
    )  # fmt: skip


def open_clip(shapes: Shapes) -> dict[str, Any]:
    """Configuration of a text tower that has OpenCLIP's names (Stable Diffusion 2, second encoder of XL).

    Raises:
        KeyError, ValueError: as `unet`.
    """
    tokens, width = shapes["token_embedding.weight"]
    layers = _count(shapes, r"transformer\.resblocks\.(\d+)\.")
    projected = shapes["text_projection"][1] if "text_projection" in shapes else width
    return _text(
        tokens, width, shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        layers - 1 if layers == OPEN_CLIP_H_LAYERS else layers, shapes["positional_embedding"][0], "gelu", projected,
    )  # fmt: skip


def _half(shapes: Shapes) -> dict[str, Any]:
    """What a UNet and a ControlNet share: the way down and the middle."""
    levels, middle = _levels(shapes), _depth(shapes, "middle_block.1")
    if len({level.layers for level in levels}) != 1 or levels[-1].depth not in (0, middle):
        raise ValueError("its levels have different numbers of layers")
    depths = [level.depth or 1 for level in levels[:-1]] + [middle]
    linear = len(shapes["middle_block.1.proj_in.weight"]) == 2
    channels = [level.channels for level in levels]
    width = shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1]
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1], "block_out_channels": channels,
        "layers_per_block": levels[0].layers, "cross_attention_dim": width,
        "down_block_types": ["CrossAttnDownBlock2D" if level.depth else "DownBlock2D" for level in levels],
        "transformer_layers_per_block": depths if set(depths) != {1} else 1, "use_linear_projection": linear,
        "attention_head_dim": [n // HEAD_CHANNELS for n in channels] if linear and CLASSES not in shapes else HEADS,
        **_vector(shapes), **_without_itself(shapes, levels),
    }  # fmt: skip


def _without_itself(shapes: Shapes, levels: Sequence[_Level]) -> dict[str, Any]:
    """Levels whose first attention attends to the context instead of to the picture, as in the x4 upscaler: its keys
    are made of tokens, which show where they are not as wide as the picture's channels.
    """
    only = []
    for number, level in enumerate(levels):
        first = 1 + sum(other.layers + 1 for other in levels[:number])
        keys = shapes.get(f"input_blocks.{first}.1.transformer_blocks.0.attn1.to_k.weight")
        only.append(keys is not None and keys[1] != level.channels)
    return {"only_cross_attention": only} if any(only) else {}


def _levels(shapes: Shapes) -> list[_Level]:
    """The resolutions on the way down: a downsampling ends each but the last."""
    levels: list[_Level] = []
    channels = layers = depth = 0
    for index in range(1, _count(shapes, r"input_blocks\.(\d+)\.")):
        if f"input_blocks.{index}.0.op.weight" in shapes:
            levels.append(_Level(channels, layers, depth))
            layers = 0
            continue
        channels, layers = shapes[f"input_blocks.{index}.0.out_layers.3.weight"][0], layers + 1
        depth = _depth(shapes, f"input_blocks.{index}.1")
    return [*levels, _Level(channels, layers, depth)]


def _depth(shapes: Shapes, attention: str) -> int:
    return _count(shapes, re.escape(attention) + r"\.transformer_blocks\.(\d+)\.")


def _vector(shapes: Shapes) -> dict[str, Any]:
    """What is added to the time embedding: SDXL's pooled text, sizes and crops; a class; a projected vector."""
    if CLASSES in shapes:
        return {"num_class_embeds": shapes[CLASSES][0]}
    if "label_emb.0.0.weight" not in shapes:
        return {}
    width = {"projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1]}
    if _depth(shapes, "middle_block.1") > 1:  # as in no model before SDXL
        return {**width, "addition_embed_type": "text_time", "addition_time_embed_dim": SIZE_EMBEDDING}
    return {**width, "class_embed_type": "projection"}


def _text(tokens: int, width: int, hidden: int, layers: int, length: int, act: str, projected: int) -> dict[str, Any]:
    """A CLIP text tower. With `eos_token_id` 2 transformers takes the token of the highest id for the end, as CLIP
    does; the published configurations say so.
    """
    return {
        "vocab_size": tokens, "hidden_size": width, "intermediate_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // HEAD_CHANNELS), "max_position_embeddings": length, "hidden_act": act,
        "layer_norm_eps": 1e-5, "projection_dim": projected, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "model_type": "clip_text_model",
    }  # fmt: skip


def _count(shapes: Shapes, pattern: str) -> int:
    """How many numbers stand in the place of the group, from 0 on."""
    compiled = re.compile(pattern)
    numbers = {int(found[1]) for name in shapes if (found := compiled.match(name))}
    if numbers != set(range(len(numbers))):
        raise ValueError(f"some of its layers are not there ({pattern})")
    return len(numbers)
