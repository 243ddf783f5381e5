"""What a LoRA file changes, by the names and shapes in its header: which layers of which part, and whether they fit.

Written by diffusers and peft: `unet.mid_block...to_k.lora_A.weight`; by kohya's scripts:
`lora_unet_mid_block_..._to_k.lora_down.weight` beside `.alpha`, with the block names of the original code for SDXL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphcore import InputError
from nodes.models.adapters import layers
from nodes.models.files.adapter_file import AdapterFile
from nodes.models.handles import settings
from nodes.types import TextEncoderModel, UNetModel

PREFIXES: Mapping[str, str] = {
    "lora_unet_": "unet", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te_": "text_encoder",
    "unet.": "unet", "text_encoder_2.": "text_encoder_2", "text_encoder.": "text_encoder",
}  # fmt: skip
"""How names start, and the part that they change."""

PEFT = "base_model.model."
"""How names start in a file that peft wrote for one part alone."""

ENDINGS: Mapping[str, str] = {
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".lora_A.weight": "down", ".lora_B.weight": "up",
    ".lora.down.weight": "down", ".lora.up.weight": "up", "_lora.down.weight": "down", "_lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up", ".alpha": "alpha",
    ".lora_B.bias": "bias",
}  # fmt: skip
"""How names end: the two matrices of a layer (the change is `up` times `down`), and what it is scaled with."""

OLD_NAMES: Mapping[str, str] = {
    "self_attn_to_q": "self_attn_q_proj", "self_attn_to_k": "self_attn_k_proj", "self_attn_to_v": "self_attn_v_proj",
    "self_attn_to_out": "self_attn_out_proj",
}  # fmt: skip

WIDTHS: Mapping[int, str] = {
    768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL", 1280: "the refiner of SDXL"
}  # fmt: skip
"""Context widths of published models."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file.

    Args:
        name: In the file.
        part: `unet`, `text_encoder` or `text_encoder_2`.
        layer: The layer that it changes, with `_` for `.` as kohya writes it.
        role: One of the values of `ENDINGS`.
    """

    name: str
    part: str
    layer: str
    role: str
    shape: tuple[int, ...]


def tensors(file: AdapterFile) -> list[Tensor]:
    """The tensors of a LoRA.

    Raises:
        InputError: it is no LoRA, or one of a kind or for models that are not served.
    """
    if not file.shapes:
        raise InputError("path", expected="a LoRA", got="a file without tensors", fix="copy this file anew")
    found = [_tensor(name, shape) for name, shape in file.shapes.items()]
    if strangers := [name for name, tensor in zip(file.shapes, found, strict=True) if tensor is None]:
        raise InputError(
            "path", expected="a LoRA for Stable Diffusion (of diffusers, peft or kohya)",
            got=f"a file with the tensor `{strangers[0]}`" + _more(strangers), fix=_stranger_help(strangers[0]),
        )  # fmt: skip
    return [tensor for tensor in found if tensor is not None]


def named_for_diffusers(name: str) -> str:
    """The name of a tensor as diffusers expects it: with the part that it belongs to in front."""
    if name.startswith(tuple(PREFIXES)):
        return name
    bare = name.removeprefix(PEFT)
    return f"{'text_encoder' if 'self_attn' in bare or '.mlp.' in bare else 'unet'}.{bare}"


def encoders(handle: TextEncoderModel) -> dict[str, TextEncoderModel]:
    """The text encoders of a model by the names that they have in SDXL's pipeline (the refiner has only its second)."""
    if handle.second is not None:
        return {"text_encoder": handle, "text_encoder_2": handle.second}
    if not handle.class_name:
        return {}
    return {"text_encoder_2" if handle.class_name == "CLIPTextModelWithProjection" else "text_encoder": handle}


def check(found: list[Tensor], unet: UNetModel | None, text_encoder: TextEncoderModel | None) -> None:
    """Refuse a LoRA whose layers these parts do not have, or have in other sizes.

    Raises:
        InputError: it was made for another family.
    """
    if unet is not None:
        _check_context(found, unet)
        _check_layers([tensor for tensor in found if tensor.part == "unet"], _unet_layers(unet), "UNet")
    if text_encoder is None:
        return
    parts = encoders(text_encoder)
    for part in ("text_encoder", "text_encoder_2"):
        mine = [tensor for tensor in found if tensor.part == part]
        if mine and part not in parts:
            raise _absent_encoder(part, mine)
        if mine:
            sizes = layers.text_encoder(settings(parts[part].config))
            _check_layers(mine, {_flat(name): size for name, size in sizes.items()}, "text encoder")


def _tensor(name: str, shape: tuple[int, ...]) -> Tensor | None:
    full = named_for_diffusers(name)
    prefix = next(start for start in PREFIXES if full.startswith(start))
    for ending, role in ENDINGS.items():
        if full.endswith(ending):
            layer = _flat(full.removeprefix(prefix).removesuffix(ending).replace(".processor", ""))
            if ending.startswith("_lora"):  # the attention processors of old
                layer = _renewed(layer)
            return Tensor(name, PREFIXES[prefix], layer, role, shape)
    return None


def _flat(layer: str) -> str:
    return layer.replace(".", "_").removeprefix("text_model_")


def _renewed(layer: str) -> str:
    for old, new in OLD_NAMES.items():
        layer = layer.replace(old, new)
    return f"{layer}_0" if layer.endswith("_to_out") else layer


def _unet_layers(unet: UNetModel) -> dict[str, layers.Size]:
    config = settings(unet.config)
    if unet.class_name != "UNet2DConditionModel":
        raise InputError("unet", expected="a UNet with cross-attention", got="one without", fix="use another model")
    sizes = layers.unet(config)
    for ours, original in layers.original_names(config).items():
        sizes |= {f"{original}{name.removeprefix(ours)}": sizes[name] for name in list(sizes) if name.startswith(ours)}
    return {_flat(name): size for name, size in sizes.items()}


def _check_context(found: list[Tensor], unet: UNetModel) -> None:
    """The first thing that tells families apart, said in the words of people."""
    own = [size[1] for name, size in _unet_layers(unet).items() if name.endswith("attn2_to_k")]
    for tensor in found:
        if tensor.part == "unet" and tensor.role == "down" and tensor.layer.endswith("attn2_to_k"):
            width = tensor.shape[1]
            if own and width not in own:
                raise InputError(
                    "path", expected=f"a LoRA for a UNet whose context is {own[0]} wide ({family(own[0])})",
                    got=f"one for a context of {width} ({family(width)}; tensor `{tensor.name}`)",
                    fix="a LoRA fits only the family that it was trained on: take another LoRA, or another model",
                )  # fmt: skip


def _check_layers(found: list[Tensor], sizes: Mapping[str, layers.Size], what: str) -> None:
    for tensor in found:
        size = sizes.get(tensor.layer)
        if size is None and any(word in tensor.layer for word in ("attn", "attentions", "mlp", "transformer_blocks")):
            raise InputError(
                "path", expected=f"a LoRA whose layers this {what} has",
                got=f"one for the layer `{tensor.layer}`, which it does not have",
                fix="the LoRA was made for a model of another family or size",
            )  # fmt: skip
        if size is None or len(tensor.shape) < 2 or tensor.role not in ("up", "down"):
            continue
        mine, wanted = (tensor.shape[1], size[1]) if tensor.role == "down" else (tensor.shape[0], size[0])
        if mine != wanted:
            raise InputError(
                "path", expected=f"a LoRA for {wanted} channels at the layer `{tensor.layer}` of this {what}",
                got=f"{mine}", fix="the LoRA was made for a model of another family or size",
            )  # fmt: skip


def _absent_encoder(part: str, found: list[Tensor]) -> InputError:
    second = part == "text_encoder_2"
    return InputError(
        "path", expected="a LoRA for the text encoder of this model",
        got=f"one that also changes {'a second' if second else 'a first'} text encoder (`{found[0].name}`)",
        fix="it was made for Stable Diffusion XL: take another LoRA, or another model",
    )  # fmt: skip


def family(width: int) -> str:
    return WIDTHS.get(width, "a model of its own kind")


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _stranger_help(name: str) -> str:
    kinds = {"lokr": "LoKr", "hada": "LoHa", "oft": "OFT", "dora_scale": "DoRA", "magnitude_vector": "DoRA"}
    for word, kind in kinds.items():
        if word in name:
            return f"this is a {kind}, which is not served; look for a plain LoRA of it"
    if "lora_mid" in name:
        return "convolutions in three factors (LoCon with Tucker decomposition) are not served"
    return "this may be a whole checkpoint or an adapter of another kind"


def parts(found: list[Tensor]) -> Iterator[str]:
    """The parts that a LoRA changes."""
    yield from dict.fromkeys(tensor.part for tensor in found)
