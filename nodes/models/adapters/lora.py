"""`load_lora`: low-rank changes to the layers of a UNet and its text encoders (arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple, TypeVar

from pydantic import Field

from graphcore import node
from nodes.models import random_models
from nodes.models.adapters import layers, lora_names
from nodes.models.files import adapter_file
from nodes.models.files.adapter_file import AdapterFile, Shapes
from nodes.models.handles import canonical
from nodes.types import ModelHandle, Patch, TextEncoderModel, UNetModel

H = TypeVar("H", bound=ModelHandle)

KIND = "lora"
RANK = 4
"""Of the LoRAs with random weights."""

PEFT_SETTINGS = "adapter_config.json"
"""File beside the weights that peft writes; the scale `lora_alpha` is in it."""

Weight = Annotated[float, Field(ge=-10, le=10)]


class Adapted(NamedTuple):
    """The parts of a model with the LoRA in them; those that it does not change are as they were."""

    unet: UNetModel
    text_encoder: TextEncoderModel


def fingerprint(path: str) -> str:
    """Content of the file."""
    return read(path).digest()


def infer(
    path: str | None = None,
    unet: UNetModel | None = None,
    text_encoder: TextEncoderModel | None = None,
    weight: float = 1.0,
    text_weight: float | None = None,
) -> Adapted | None:
    """The handles, without a digest; refuses a LoRA of another family by the shapes in the file's header."""
    if path is None:
        return None
    file = read(path)
    found = lora_names.tensors(file)
    lora_names.check(found, unet, text_encoder)
    if unet is None or text_encoder is None:
        return None
    return _adapted(file, found, "", unet, text_encoder, weight, text_weight)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_lora(
    path: str,
    unet: UNetModel,
    text_encoder: TextEncoderModel,
    weight: Weight = 1.0,
    text_weight: Weight | None = None,
) -> Adapted:
    """A model changed by a LoRA: W + weight * (alpha / rank) * up @ down in each layer that it names.

    The model given is not changed, and shares its weights with the new one. Several LoRAs add up: load one after the
    other. Read as diffusers reads it (files of diffusers, peft and kohya's scripts, for Stable Diffusion 1, 2 and XL).

    Args:
        path: A .safetensors file, or a folder with just one; `random:lora_sd15`, `random:lora_sd15_kohya`,
            `random:lora_sdxl` and `random:lora_sdxl_kohya` fit the models with random weights.
        unet, text_encoder: Of the model family that the LoRA was trained on.
        weight: How much of it; 0 is nothing, 1 as it was trained, below 0 the opposite.
        text_weight: The same for the text encoders; none takes `weight`.

    Raises:
        InputError: no LoRA, a pickle, or one of another family.
    """
    file = read(path)
    found = lora_names.tensors(file)
    lora_names.check(found, unet, text_encoder)
    return _adapted(file, found, file.digest(), unet, text_encoder, weight, text_weight)


def read(path: str) -> AdapterFile:
    """The header of a LoRA file."""
    return adapter_file.read(path, "a LoRA", RANDOM, beside=PEFT_SETTINGS)


def _adapted(
    file: AdapterFile, found: list[lora_names.Tensor], digest: str, unet: UNetModel, text_encoder: TextEncoderModel,
    weight: float, text_weight: float | None,
) -> Adapted:  # fmt: skip
    changed = set(lora_names.parts(found))

    def patched(handle: H, part: str, strength: float) -> H:
        if part not in changed:
            return handle
        patch = Patch(KIND, file.source, digest, canonical({"part": part, "weight": float(strength)}))
        return replace(handle, patches=(*handle.patches, patch))

    strength = weight if text_weight is None else text_weight
    encoders = {part: patched(handle, part, strength) for part, handle in lora_names.encoders(text_encoder).items()}
    first = next(iter(encoders.values()), text_encoder)
    if text_encoder.second is not None:
        first = replace(first, second=encoders["text_encoder_2"])
    return Adapted(patched(unet, "unet", weight), first)


def _random_shapes(model: str, *, kohya: bool) -> Shapes:
    """Matrices of rank 4 for the attention of a random model's UNet and text encoders."""
    parts = random_models.parts(model)
    sizes = {"unet": layers.unet(parts["unet"].config)}
    sizes |= {name: layers.text_encoder(parts[name].config) for name in parts if name.startswith("text_encoder")}
    found: dict[str, tuple[int, ...]] = {}
    for part, named in sizes.items():
        for layer, (out, inside) in named.items():
            if not layer.endswith(("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")):
                continue
            if kohya:
                base = f"{_kohya_prefix(part, 'text_encoder_2' in parts)}{_original(parts['unet'].config, layer)}"
                found |= {f"{base}.lora_down.weight": (RANK, inside), f"{base}.lora_up.weight": (out, RANK)}
                found[f"{base}.alpha"] = ()
            else:
                base = f"{part}.{layer}"
                found |= {f"{base}.lora_A.weight": (RANK, inside), f"{base}.lora_B.weight": (out, RANK)}
    return found


def _kohya_prefix(part: str, two: bool) -> str:
    return {"unet": "lora_unet_", "text_encoder": "lora_te1_" if two else "lora_te_"}.get(part, "lora_te2_")


def _original(unet: layers.Config, layer: str) -> str:
    """A layer in kohya's words, who trains SDXL in its original code and Stable Diffusion in that of diffusers."""
    if unet.get("addition_embed_type") == "text_time":
        for ours, original in layers.original_names(unet).items():
            if layer.startswith(f"{ours}."):
                layer = layer.replace(ours, original, 1)
    return layer.replace(".", "_")


RANDOM = {
    "lora_sd15": lambda: _random_shapes("sd15", kohya=False),
    "lora_sd15_kohya": lambda: _random_shapes("sd15", kohya=True),
    "lora_sdxl": lambda: _random_shapes("sdxl", kohya=False),
    "lora_sdxl_kohya": lambda: _random_shapes("sdxl", kohya=True),
}
"""LoRAs with random weights."""
