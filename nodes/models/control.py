"""`load_controlnet` and `load_t2i_adapter`: what guides a UNet by a picture, as handles. No weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from graphcore import InputError, node, runtime
from nodes.models import random_models
from nodes.models.files import control_files
from nodes.models.handles import canonical
from nodes.models.part import Part
from nodes.types import AdapterModel, ControlNetModel, ModelHandle

H = TypeVar("H", bound=ModelHandle)

SMALL: Mapping[str, Any] = {
    "in_channels": 4, "block_out_channels": [8, 16], "layers_per_block": 1, "cross_attention_dim": 32,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "attention_head_dim": 2, "norm_num_groups": 4,
    "conditioning_embedding_out_channels": [4, 8],
}  # fmt: skip
"""A ControlNet for the UNet and the autoencoder of `random:sd15`."""

SMALL_XL: Mapping[str, Any] = {
    **SMALL, "cross_attention_dim": 72, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 88, "use_linear_projection": True, "transformer_layers_per_block": [1, 2],
}  # fmt: skip

CONTROLNETS: Mapping[str, Mapping[str, Any]] = {
    "controlnet": SMALL,
    "controlnet_depth": SMALL,
    "controlnet_shuffle": {**SMALL, "global_pool_conditions": True},
    "controlnet_sd21": {**SMALL, "cross_attention_dim": 40, "use_linear_projection": True},
    "controlnet_sdxl": SMALL_XL,
}
"""Random ControlNets by name; each fits the random model of the same family."""

SMALL_ADAPTER: Mapping[str, Any] = {
    "channels": [8, 16], "num_res_blocks": 1, "downscale_factor": 4, "adapter_type": "full_adapter_xl",
}  # fmt: skip
"""A T2I-Adapter for the UNet of `random:sd15`, which begins with a block without attention, as SDXL's does."""

ADAPTERS: Mapping[str, Mapping[str, Any]] = {
    "t2i_adapter": {"in_channels": 3, **SMALL_ADAPTER},
    "t2i_adapter_sketch": {"in_channels": 1, **SMALL_ADAPTER},
}
"""Random T2I-Adapters by name; the random models of all families have UNets that they fit."""


def _infer_controlnet(path: str | None = None) -> ControlNetModel | None:
    return None if path is None else _handle(ControlNetModel, _controlnet(path), digests=False)


def _print_controlnet(path: str) -> str:
    return _controlnet(path).digest()


@node(category="model", infer=_infer_controlnet, fingerprint=_print_controlnet)
def load_controlnet(path: str = "random:controlnet") -> ControlNetModel:
    """A ControlNet, which holds a UNet to a picture of edges, depth or poses. Weights are loaded when it first runs.

    Args:
        path: A folder as diffusers saves it (`config.json` with the weights beside it), its name in the cache of the
            hub, or a single .safetensors file with the tensor names of the original code; or `random:controlnet`,
            `random:controlnet_sd21` or `random:controlnet_sdxl` for a tiny one with random weights.

    Raises:
        InputError: there is none, it is incomplete, pickled, or something else.
    """
    return _handle(ControlNetModel, _controlnet(path), digests=True)


def _infer_adapter(path: str | None = None) -> AdapterModel | None:
    return None if path is None else _handle(AdapterModel, _adapter(path), digests=False)


def _print_adapter(path: str) -> str:
    return _adapter(path).digest()


@node(category="model", infer=_infer_adapter, fingerprint=_print_adapter)
def load_t2i_adapter(path: str = "random:t2i_adapter") -> AdapterModel:
    """A T2I-Adapter, a small network that shows a UNet a picture to follow; its weights are loaded when it first runs.

    Args:
        path: A folder as diffusers saves it (`config.json` with the weights beside it), or its name in the cache of
            the hub; or `random:t2i_adapter` or `random:t2i_adapter_sketch` (one channel) for a tiny one with random
            weights.

    Raises:
        InputError: there is none, it is incomplete, pickled, or something else.
    """
    return _handle(AdapterModel, _adapter(path), digests=True)


def _controlnet(path: str) -> Part:
    return _part(path, control_files.CONTROLNET, CONTROLNETS)


def _adapter(path: str) -> Part:
    return _part(path, control_files.ADAPTER, ADAPTERS)


def _part(path: str, class_name: str, random: Mapping[str, Mapping[str, Any]]) -> Part:
    if not path.startswith(random_models.RANDOM):
        return control_files.read(path, class_name)
    name = path.removeprefix(random_models.RANDOM)
    if name not in random:
        raise InputError("path", expected=f"one of {', '.join(random)} after `{random_models.RANDOM}`", got=repr(name))
    return Part(path, class_name, random[name], layout="random")


def _handle(kind: type[H], part: Part, *, digests: bool) -> H:
    here = runtime()
    digest = part.digest() if digests else ""
    config = canonical(dict(part.config))
    return kind(part.source, part.class_name, config, digest, here.device, here.dtype, layout=part.layout)
