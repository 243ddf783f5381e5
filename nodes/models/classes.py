"""The classes of parts by name; only these, whatever a file asks for. Each import brings no pipeline along.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from graphcore import StepgraphError

MODULES: Mapping[str, str] = {
    "UNet2DConditionModel": "diffusers",
    "UNet2DModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "AutoencoderTiny": "diffusers",
    "VQModel": "diffusers",
    "ControlNetModel": "diffusers",
    "T2IAdapter": "diffusers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "CLIPVisionModelWithProjection": "transformers",
    "LDMBertModel": "diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion",
    "ClassEmbedder": "nodes.models.networks.encoders",
    "SpatialRescaler": "nodes.models.networks.encoders",
    "FmriEncoder": "nodes.models.networks.fmri",
    "NoisyClassifier": "nodes.models.networks.classifier",
}
"""Class name: module that has it."""

TOKENIZERS: Mapping[str, str] = {
    "CLIPTokenizer": "CLIPTokenizer",
    "CLIPTokenizerFast": "CLIPTokenizer",
    "BertTokenizer": "BertTokenizer",
    "BertTokenizerFast": "BertTokenizer",
}
"""Class name in a file: class in transformers."""

OUR_SETTINGS = (
    "prediction_type", "force_zeros_for_empty_prompt", "requires_aesthetics_score", "added_tokens", "ip_adapters",
)  # fmt: skip
"""What `load_model` and adapters add to configurations; the classes do not know it."""


def module(name: str) -> Any:
    """The class of a part with weights.

    Raises:
        StepgraphError: it is none of those that the nodes can run.
    """
    if name not in MODULES:
        raise StepgraphError(f"`{name}` is no class whose weights can be loaded")
    return getattr(import_module(MODULES[name]), name)


def tokenizer(name: str) -> Any:
    """The class of a tokenizer.

    Raises:
        StepgraphError: it is none of those that the nodes can run.
    """
    if name not in TOKENIZERS:
        raise StepgraphError(f"`{name}` is no tokenizer that can be loaded")
    return getattr(import_module("transformers"), TOKENIZERS[name])


def build(name: str, config: Mapping[str, Any]) -> torch.nn.Module:
    """A module from its configuration alone, with fresh weights."""
    kind = module(name)
    known = {key: value for key, value in config.items() if key not in OUR_SETTINGS}
    built: torch.nn.Module
    built = kind(kind.config_class.from_dict(known)) if hasattr(kind, "config_class") else kind.from_config(known)
    return built
