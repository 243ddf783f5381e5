"""The layers of a UNet or a text encoder by name, with their sizes, from the configuration alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]

Size = tuple[int, int]
"""Channels out, channels in: the first two dimensions of the layer's weight."""

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


def unet(config: Config) -> dict[str, Size]:
    """The layers of the transformers in a UNet2DConditionModel, in the order of its blocks: down, middle, up."""
    return {name: size for place in transformers(config) for name, size in _transformer(*place)}


def cross_attentions(config: Config) -> list[str]:
    """The cross-attentions of a UNet in the order in which diffusers lists its processors: down, up, middle."""
    names = [name.removesuffix(".to_k") for name in unet(config) if name.endswith("attn2.to_k")]
    return sorted(names, key=lambda name: name.startswith("mid_block"))


def text_encoder(config: Config) -> dict[str, Size]:
    """The layers of a CLIP text encoder; names as in its checkpoints, `text_model.encoder.layers.0...`."""
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    found: dict[str, Size] = {}
    for layer in range(int(config["num_hidden_layers"])):
        base = f"text_model.encoder.layers.{layer}"
        found |= {f"{base}.self_attn.{name}": (width, width) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
        found |= {f"{base}.mlp.fc1": (inner, width), f"{base}.mlp.fc2": (width, inner)}
    return found


def transformers(config: Config) -> Iterator[tuple[str, int, int, int]]:
    """Each transformer of a UNet: its name, its channels, how many blocks it has, and the width of its context."""
    channels = [int(number) for number in config.get("block_out_channels", (320, 640, 1280, 1280))]
    levels = len(channels)
    layers = _each(config.get("layers_per_block", 2), levels)
    depths = _each(config.get("transformer_layers_per_block", 1), levels)
    widths = _each(config.get("cross_attention_dim", 1280), levels)
    down = config.get("down_block_types", ("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",))
    up = config.get("up_block_types", ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1))
    for level, kind in enumerate(down):
        if "CrossAttn" in kind:
            for layer in range(layers[level]):
                yield f"down_blocks.{level}.attentions.{layer}", channels[level], depths[level], widths[level]
    if config.get("mid_block_type", "UNetMidBlock2DCrossAttn") == "UNetMidBlock2DCrossAttn":
        yield "mid_block.attentions.0", channels[-1], depths[-1], widths[-1]
    for block, kind in enumerate(up):
        level = levels - 1 - block
        if "CrossAttn" in kind:
            for layer in range(layers[level] + 1):
                yield f"up_blocks.{block}.attentions.{layer}", channels[level], depths[level], widths[level]


def original_names(config: Config) -> dict[str, str]:
    """The transformers' names in the original code (LDM's and SDXL's), by those of diffusers.

    There the blocks of all levels are counted in one row: a convolution, then for each level its layers and a
    downsampling; upwards the layers of each level, the last of which is followed by the upsampling.
    """
    layers = int(_each(config.get("layers_per_block", 2), 1)[0])
    found = {"mid_block.attentions.0": "middle_block.1"}
    for name, *_ in transformers(config):
        side, block, _, layer = [*name.split("."), "", ""][:4]
        if side == "down_blocks":
            found[name] = f"input_blocks.{int(block) * (layers + 1) + int(layer) + 1}.1"
        elif side == "up_blocks":
            found[name] = f"output_blocks.{int(block) * (layers + 1) + int(layer)}.1"
    return found


def _transformer(name: str, channels: int, depth: int, width: int) -> Iterator[tuple[str, Size]]:
    yield f"{name}.proj_in", (channels, channels)
    yield f"{name}.proj_out", (channels, channels)
    for block in range(depth):
        base = f"{name}.transformer_blocks.{block}"
        for attention, context in (("attn1", channels), ("attn2", width)):
            for layer in PROJECTIONS:
                inside = context if layer in ("to_k", "to_v") else channels
                yield f"{base}.{attention}.{layer}", (channels, inside)
        yield f"{base}.ff.net.0.proj", (8 * channels, channels)
        yield f"{base}.ff.net.2", (channels, 4 * channels)


def _each(value: Any, levels: int) -> list[int]:
    """One number for all levels, or one for each."""
    return [int(number) for number in value] if isinstance(value, (list, tuple)) else [int(value)] * levels
