"""LoRA in a module: read, renamed and put into the layers by diffusers and peft.

Heavy: import this inside functions only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
from diffusers.utils.peft_utils import set_weights_and_activate_adapters

from graphcore import StepgraphError
from nodes.models.adapters import lora, lora_names
from nodes.models.files import adapter_file
from nodes.models.files.adapter_file import AdapterFile
from nodes.models.random_models import RANDOM
from nodes.types import Patch


def apply(module: torch.nn.Module, patches: Sequence[Patch]) -> None:
    """Put LoRAs into a module and set their weights.

    Args:
        module: A UNet or a text encoder that may be changed.

    Raises:
        StepgraphError: a LoRA changes layers that the module does not have.
    """
    names, weights = [], []
    for index, patch in enumerate(patches):
        settings = json.loads(patch.settings)
        names.append(f"lora_{index}")
        weights.append(settings["weight"])
        _load(module, patch, settings["part"], names[-1])
    set_weights_and_activate_adapters(module, names, weights)


def _load(module: torch.nn.Module, patch: Patch, part: str, name: str) -> None:
    file = lora.read(patch.source)
    found = [tensor for tensor in lora_names.tensors(file) if tensor.part == part]
    values = adapter_file.tensors(file, patch.digest)
    mine = {lora_names.named_for_diffusers(tensor.name): values[tensor.name] for tensor in found}
    config = module.config if part == "unet" else None
    state, alphas = StableDiffusionXLLoraLoaderMixin.lora_state_dict(mine, unet_config=config)
    metadata = _metadata(file, part)
    if metadata is None and not alphas:
        alphas = _peft_alphas(file, state)
    settings: dict[str, Any] = {
        "network_alphas": None if metadata else alphas, "adapter_name": name, "metadata": metadata,
        "low_cpu_mem_usage": True,
    }  # fmt: skip
    if part == "unet":
        StableDiffusionXLLoraLoaderMixin.load_lora_into_unet(state, unet=module, **settings)
    else:
        StableDiffusionXLLoraLoaderMixin.load_lora_into_text_encoder(
            state, text_encoder=module, prefix=part, **settings
        )
    _check_all_found(module, name, found, file)


def _metadata(file: AdapterFile, part: str) -> dict[str, Any] | None:
    """The settings that diffusers writes into the header of its LoRA files."""
    from safetensors import safe_open

    if file.source.startswith(RANDOM):
        return None
    with safe_open(file.source, framework="pt") as opened:
        written = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
    mine = {name: value for name, value in written.items() if name.startswith(f"{part}.")}
    return mine or None


def _peft_alphas(file: AdapterFile, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The scale that peft keeps in a file beside its weights."""
    if not file.beside:
        return {}
    settings = json.loads(Path(file.beside[0]).read_text(encoding="utf-8"))
    for unserved in ("use_dora", "use_rslora", "alpha_pattern", "rank_pattern"):
        if settings.get(unserved):
            raise StepgraphError(f"{file.beside[0]} asks for `{unserved}`, which is not served")
    layers = {name.partition(".lora_")[0] for name in state}
    return {f"{layer}.alpha": float(settings["lora_alpha"]) for layer in layers}


def _check_all_found(
    module: torch.nn.Module, adapter: str, wanted: Sequence[lora_names.Tensor], file: AdapterFile
) -> None:
    """Libraries only log the layers that they do not find."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = {
        name
        for name, layer in module.named_modules()
        if isinstance(layer, BaseTunerLayer) and adapter in getattr(layer, "lora_A", ())
    }
    downs = [tensor for tensor in wanted if tensor.role == "down"]
    if len(layers) != len(downs):
        raise StepgraphError(
            f"the LoRA {file.source} changes {len(downs)} layers of which this {type(module).__name__} has "
            f"{len(layers)}; it was made for another model"
        )
