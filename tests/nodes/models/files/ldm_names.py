"""Models written with the tensor names of CompVis' and Stability's code: the inverse of what a loader does.

Written from the published key scheme (`ldm/modules/diffusionmodules/{openaimodel,model}.py`, OpenCLIP's
`transformer.py`), not from the converters of diffusers, which the tests compare with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "conv_in.": "input_blocks.0.0.", "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.":
    "time_embed.2.", "class_embedding.": "label_emb.",
    "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
}  # fmt: skip
VAE = {
    "encoder.conv_norm_out.": "encoder.norm_out.", "decoder.conv_norm_out.": "decoder.norm_out.",
    "mid_block.resnets.0.": "mid.block_1.", "mid_block.resnets.1.": "mid.block_2.",
    "mid_block.attentions.0.group_norm.": "mid.attn_1.norm.", "mid_block.attentions.0.to_q.": "mid.attn_1.q.",
    "mid_block.attentions.0.to_k.": "mid.attn_1.k.", "mid_block.attentions.0.to_v.": "mid.attn_1.v.",
    "mid_block.attentions.0.to_out.0.": "mid.attn_1.proj_out.", "conv_shortcut.": "nin_shortcut.",
}  # fmt: skip
OPEN_CLIP = {
    "encoder.layers.": "transformer.resblocks.", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj", "final_layer_norm": "ln_final",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
}  # fmt: skip


def unet(tensors: Mapping[str, Tensor], levels: int, layers: int, prefix: str = "model.diffusion_model.") -> Tensors:
    """A UNet2DConditionModel, or the way down of a ControlNet.

    The original numbers blocks through: on the way down `layers` of a level, then its downsampling; on the way up
    `layers` + 1, the last of which upsamples too.
    """
    return {prefix + _unet_name(name, levels, layers, tensors): tensor for name, tensor in tensors.items()}


def controlnet(tensors: Mapping[str, Tensor], levels: int, layers: int, prefix: str = "control_model.") -> Tensors:
    hint = sorted({name.split(".")[2] for name in tensors if "cond_embedding.blocks." in name}, key=int)
    convolutions = ["conv_in", *(f"blocks.{number}" for number in hint), "conv_out"]
    places = {f"controlnet_cond_embedding.{name}.": f"input_hint_block.{2 * i}." for i, name in enumerate(convolutions)}
    own: Tensors = {}
    for name, tensor in tensors.items():
        if found := next((new + name.removeprefix(old) for old, new in places.items() if name.startswith(old)), None):
            own[prefix + found] = tensor
        elif name.startswith("controlnet_down_blocks."):
            _, number, kind = name.split(".")
            own[f"{prefix}zero_convs.{number}.0.{kind}"] = tensor
        elif name.startswith("controlnet_mid_block."):
            own[f"{prefix}middle_block_out.0.{name.split('.')[-1]}"] = tensor
        else:
            own[prefix + _unet_name(name, levels, layers, tensors)] = tensor
    return own


def vae(tensors: Mapping[str, Tensor], levels: int, prefix: str = "first_stage_model.") -> Tensors:
    """An AutoencoderKL; its attention is made of 1 x 1 convolutions there, and the levels of the decoder count down."""
    own: Tensors = {}
    for name, tensor in tensors.items():
        new = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
        new = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", new)
        new = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", new)
        new = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", new)
        for old, other in VAE.items():
            new = new.replace(old, other)
        attention = ".attn_1." in new and new.endswith("weight") and ".norm." not in new
        own[prefix + new] = tensor[:, :, None, None] if attention else tensor
    return own


def clip(tensors: Mapping[str, Tensor], prefix: str = "cond_stage_model.transformer.") -> Tensors:
    """A CLIP text tower as transformers named it when those checkpoints were made."""
    return {f"{prefix}text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}


def open_clip(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """A text tower with OpenCLIP's names: q, k and v are one matrix, the projection is transposed."""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    own = {prefix + name: tensor for name, tensor in _joined(plain)}
    if "text_projection.weight" in plain:
        own[f"{prefix}text_projection"] = plain["text_projection.weight"].T.contiguous()
    return own


def _joined(plain: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in plain.items():
        if name == "text_projection.weight" or ".k_proj." in name or ".v_proj." in name:
            continue
        new = name
        for old, other in OPEN_CLIP.items():
            new = new.replace(old, other)
        if ".q_proj." in name:
            kind = name.rpartition(".")[2]
            parts = [plain[name.replace("q_proj", one)] for one in ("q_proj", "k_proj", "v_proj")]
            yield new.replace(f"self_attn.q_proj.{kind}", f"attn.in_proj_{kind}"), torch.cat(parts)
        else:
            yield new, tensor


def _unet_name(name: str, levels: int, layers: int, tensors: Mapping[str, Any]) -> str:
    for old, new in ENDS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    where, rest = _block(name, levels, layers, tensors)
    first, _, last = rest.partition(".")
    return f"{where}.{RESNET[first]}.{last}" if first in RESNET and ".resnets." in name else f"{where}.{rest}"


def _block(name: str, levels: int, layers: int, tensors: Mapping[str, Any]) -> tuple[str, str]:
    """The block that a tensor lies in, by its name in the original, and the rest of its name."""
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        return f"middle_block.{2 * int(found[2]) if found[1] == 'resnets' else 1}", found[3]
    found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    assert found, name
    way, level, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if way == "down":
        index = 1 + level * (layers + 1) + (layers if kind == "downsamplers" else number)
        where = f"input_blocks.{index}.{1 if kind == 'attentions' else 0}"
        return where, rest.replace("conv.", "op.") if kind == "downsamplers" else rest
    attends = any(other.startswith(f"up_blocks.{level}.attentions.") for other in tensors)
    index = level * (layers + 1) + (layers if kind == "upsamplers" else number)
    slot = {"resnets": 0, "attentions": 1, "upsamplers": 2 if attends else 1}[kind]
    return f"output_blocks.{index}.{slot}", rest
