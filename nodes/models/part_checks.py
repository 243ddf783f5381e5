"""Whether the parts of a model are of kinds that the nodes can run, by their configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from graphcore import InputError
from nodes.models import families, latent_spaces, unet_inputs
from nodes.models.part import Part

UNET_OPTIONS = {
    "time_cond_proj_dim": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
    "addition_embed_type": (None, "text", "text_time"),
    "class_embed_type": (None, "timestep", "identity", "projection", "simple_projection"),
}
"""Settings of a UNet that change what it wants to be given, with the values that the `unet` node serves."""

UNSUPPORTED = "this kind is not supported yet"


def check(parts: Mapping[str, Part]) -> None:
    """Refuse a model that would run wrongly, or fail late.

    Raises:
        InputError: a setting is of a kind that no node serves, or is no value that one can compute with.
    """
    _check_unet(parts["unet"].config)
    for name in ("vae", "text_encoder", "text_encoder_2"):
        if name in parts:
            check_vae(parts[name]) if name == "vae" else _check_text_encoder(parts[name].config)
    try:
        latent_spaces.of_model(parts, families.recognise(parts))
        unet_inputs.context_width(parts["unet"].config)
        unet_inputs.residual_count(parts["unet"].config)
        unet_inputs.vector_width(parts["unet"].config)
        for part in parts.values():
            for key in ("max_position_embeddings", "model_max_length"):
                int(part.config.get(key) or 0)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise InputError(
            "path", expected="configurations as diffusers writes them", got=f"a setting that fails: {error!r}",
            fix="copy the config.json files of this model anew",
        ) from error  # fmt: skip


def check_vae(vae: Part) -> None:
    """Refuse an autoencoder whose latents are normalised channel by channel.

    Raises:
        InputError: it is one.
    """
    if vae.config.get("latents_mean") is not None or vae.config.get("latents_std") is not None:
        raise InputError(
            "path", expected="a VAE with one scaling factor", got="one with `latents_mean` and `latents_std`",
            fix=UNSUPPORTED,
        )  # fmt: skip


def _check_unet(config: Mapping[str, Any]) -> None:
    for key, served in UNET_OPTIONS.items():
        if config.get(key) not in served:
            raise InputError(
                "path", expected=f"a UNet with `{key}` {' or '.join(json.dumps(value) for value in served)}",
                got=f"a UNet2DConditionModel with {json.dumps(config[key])}", fix=UNSUPPORTED,
            )  # fmt: skip


def _check_text_encoder(config: Mapping[str, Any]) -> None:
    if config.get("use_attention_mask"):
        raise InputError(
            "path", expected="a text encoder that attends to all tokens", got="one with `use_attention_mask`",
            fix=UNSUPPORTED,
        )  # fmt: skip
