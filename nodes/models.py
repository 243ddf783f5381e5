"""`load_model`: the parts of a model as handles. Configurations and headers are read, weights are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from graphcore import InputError, node, runtime
from nodes import model_folder, unet_inputs
from nodes.model_folder import Part, text_digest
from nodes.types import (
    LatentSpace,
    ModelHandle,
    SchedulerConfig,
    TextEncoderModel,
    TokenizerModel,
    UNetModel,
    VaeModel,
)

H = TypeVar("H", bound=ModelHandle)

UNET_OPTIONS = {
    "time_cond_proj_dim": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
    "addition_embed_type": (None, "text", "text_time"),
    "class_embed_type": (None, "timestep", "identity", "projection", "simple_projection"),
}
"""Settings of a UNet that change what it wants to be given, with the values that the `unet` node serves."""


class LoadedModel(NamedTuple):
    """The parts of a text-to-image model."""

    unet: UNetModel
    vae: VaeModel
    text_encoder: TextEncoderModel
    tokenizer: TokenizerModel
    scheduler: SchedulerConfig
    latent_space: LatentSpace


def fingerprint(path: str) -> str:
    """Content digest of the files of a model that decide what it computes: the same in any folder."""
    return text_digest(f"{name} {part.class_name} {part.digest()}" for name, part in _parts(path).items())


def infer(path: str | None = None) -> LoadedModel | None:
    """What `load_model` gives, without hashing gigabytes of weights (the digests of the handles stay empty)."""
    return None if path is None else _handles(_parts(path), digests=False)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_model(path: str = "builtin:emoji") -> LoadedModel:
    """The parts of a text-to-image model; weights are loaded by the nodes that need them, once per process.

    Args:
        path: A folder in the diffusers layout (relative to the workflow file or the current folder), or
            `builtin:emoji` for the small model that Stepgraph brings along. Weights must be .safetensors files.

    Raises:
        InputError: there is no such model, it is incomplete, pickled, or of a family that is not supported.
    """
    return _handles(_parts(path), digests=True)


def _parts(path: str) -> dict[str, Part]:
    """The parts of the model at a path, of kinds that the nodes can run."""
    parts = model_folder.read(model_folder.find(path))
    _check_unet(parts["unet"].config)
    _check_vae(parts["vae"].config)
    _check_text_encoder(parts["text_encoder"].config)
    _check_values(parts)
    return parts


def _handles(parts: Mapping[str, Part], *, digests: bool) -> LoadedModel:
    scheduler = parts["scheduler"].config
    predicts = {"prediction_type": scheduler.get("prediction_type", "epsilon")}

    def handle(kind: type[H], name: str, config: Mapping[str, Any]) -> H:
        part, here = parts[name], runtime()
        digest = part.digest() if digests else ""
        text = json.dumps(config, sort_keys=True, separators=(",", ":"))
        return kind(str(part.folder), part.class_name, text, digest, here.device, here.dtype)

    return LoadedModel(
        unet=handle(UNetModel, "unet", {**parts["unet"].config, **predicts}),
        vae=handle(VaeModel, "vae", parts["vae"].config),
        text_encoder=handle(TextEncoderModel, "text_encoder", parts["text_encoder"].config),
        tokenizer=handle(TokenizerModel, "tokenizer", _tokenizer_config(parts)),
        scheduler=handle(SchedulerConfig, "scheduler", scheduler),
        latent_space=_latent_space(parts["unet"].config, parts["vae"].config),
    )


def _latent_space(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> LatentSpace:
    """What the UNet's and the VAE's configurations say about latents (defaults: those of diffusers)."""
    downsampling = 2 ** (len(vae.get("block_out_channels", (64,))) - 1)
    size = unet.get("sample_size") or int(vae.get("sample_size", 512)) // downsampling
    return LatentSpace(
        channels=int(vae.get("latent_channels", 4)),
        downsampling=downsampling,
        scaling_factor=float(vae.get("scaling_factor", 0.18215)),
        sample_size=int(max(size) if isinstance(size, (list, tuple)) else size),
        shift_factor=float(vae.get("shift_factor") or 0.0),
    )


def _check_unet(config: Mapping[str, Any]) -> None:
    for key, served in UNET_OPTIONS.items():
        if config.get(key) not in served:
            raise InputError(
                "path", expected=f"a UNet with `{key}` {' or '.join(json.dumps(value) for value in served)}",
                got=f"a UNet2DConditionModel with {json.dumps(config[key])}", fix="this kind is not supported yet",
            )  # fmt: skip


def _check_values(parts: Mapping[str, Part]) -> None:
    """The settings that nodes compute with have values that one can compute with."""
    try:
        _latent_space(parts["unet"].config, parts["vae"].config)
        _tokenizer_config(parts)
        unet_inputs.context_width(parts["unet"].config)
        unet_inputs.residual_count(parts["unet"].config)
        unet_inputs.vector_width(parts["unet"].config)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise InputError(
            "path", expected="configurations as diffusers writes them", got=f"a setting that fails: {error!r}",
            fix="copy the config.json files of this model anew",
        ) from error  # fmt: skip


def _check_vae(config: Mapping[str, Any]) -> None:
    if config.get("latents_mean") is not None or config.get("latents_std") is not None:
        raise InputError(
            "path", expected="a VAE with one scaling factor", got="one with `latents_mean` and `latents_std`",
            fix="this kind is not supported yet",
        )  # fmt: skip


def _check_text_encoder(config: Mapping[str, Any]) -> None:
    if config.get("use_attention_mask"):
        raise InputError(
            "path", expected="a text encoder that attends to all tokens", got="one with `use_attention_mask`",
            fix="this kind is not supported yet",
        )  # fmt: skip


def _tokenizer_config(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The tokenizer's configuration, with what else the text nodes need: a length, and what a closed model knows."""
    config = dict(parts["tokenizer"].config)
    length = int(parts["text_encoder"].config.get("max_position_embeddings", 77))
    config["model_max_length"] = min(int(config.get("model_max_length") or length), length)
    for file in parts["tokenizer"].files:
        if file.name in model_folder.CLOSED_VOCABULARY:
            config[file.stem] = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return config
