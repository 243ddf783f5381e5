"""`load_model`: the parts of a model as handles. Configurations and headers are read, weights are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any, NamedTuple, TypeVar

from graphcore import InputError, node, runtime
from nodes.models import families, model_folder, random_models
from nodes.models.families import FAMILIES
from nodes.models.handles import canonical
from nodes.models.part import Part
from nodes.sampling import unet_inputs
from nodes.types import (
    EncoderModel,
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

PIXEL_SPACE = "PixelSpace"
"""Class name of the handle that stands where a model has no autoencoder, as it works on pixels."""


class LoadedModel(NamedTuple):
    """The parts of a model. Those that a family does not have are there too, and refuse to be used."""

    unet: UNetModel
    vae: VaeModel
    text_encoder: TextEncoderModel
    tokenizer: TokenizerModel
    encoder: EncoderModel
    scheduler: SchedulerConfig
    latent_space: LatentSpace


def fingerprint(path: str) -> tuple[str, ...]:
    """Of each output, the content that decides what it computes: the same in any folder."""
    loaded = _handles(_parts(path), digests=True)
    return tuple(_content(value) for value in loaded)


def infer(path: str | None = None) -> LoadedModel | None:
    """What `load_model` gives, without hashing gigabytes of weights (the digests of the handles stay empty)."""
    return None if path is None else _handles(_parts(path), digests=False)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_model(path: str = "builtin:emoji") -> LoadedModel:
    """The parts of a model; weights are loaded by the nodes that need them, once per process.

    Args:
        path: A folder in the diffusers layout (relative to the workflow file or the current folder);
            `builtin:emoji` for the small model that Stepgraph brings along; or `random:sd15` and the like for a tiny
            model with random weights. Weights must be .safetensors files.

    Raises:
        InputError: there is no such model, it is incomplete, pickled, or of a family that is not supported.
    """
    return _handles(_parts(path), digests=True)


def _parts(path: str) -> dict[str, Part]:
    """The parts of the model at a path, of kinds that the nodes can run."""
    if path.startswith(random_models.RANDOM):
        parts = random_models.parts(path.removeprefix(random_models.RANDOM))
    else:
        parts = model_folder.read(model_folder.find(path))
    _check_unet(parts["unet"].config)
    if "vae" in parts:
        _check_vae(parts["vae"].config)
    if "text_encoder" in parts:
        _check_text_encoder(parts["text_encoder"].config)
    _check_values(parts)
    return parts


def _content(value: Any) -> str:
    """Identity of one output: of a handle, what it computes; of anything else, its fields."""
    if not isinstance(value, ModelHandle):
        return repr(astuple(value))
    second = getattr(value, "second", None)
    mine = f"{value.class_name} {value.config} {value.digest} {value.family}"
    return mine if second is None else f"{mine} {_content(second)}"


def _handles(parts: Mapping[str, Part], *, digests: bool) -> LoadedModel:
    family = families.recognise(parts)
    predicts = {"prediction_type": parts["scheduler"].config.get("prediction_type", "epsilon")}

    def handle(kind: type[H], name: str, what: str, **more: Any) -> H:
        here = runtime()
        if name not in parts:
            absent = canonical({"family": FAMILIES[family].title, "what": what})
            return kind("", "", absent, f"no {name}", here.device, here.dtype, family)
        part = parts[name]
        digest, config = part.digest() if digests else "", canonical({**part.config, **more})
        return kind(part.source, part.class_name, config, digest, here.device, here.dtype, family, part.layout)

    text_encoders = [name for name in ("text_encoder", "text_encoder_2") if name in parts] or ["text_encoder"]
    encoders = [handle(TextEncoderModel, name, "a text encoder") for name in text_encoders]
    tokenizers = [
        handle(TokenizerModel, name.replace("text_encoder", "tokenizer"), "a tokenizer", **_tokenizer(parts, name))
        for name in text_encoders
    ]
    return LoadedModel(
        unet=handle(UNetModel, "unet", "a UNet", **predicts),
        vae=_vae(handle(VaeModel, "vae", "an autoencoder", **_scaling(family))),
        text_encoder=_pair(encoders),
        tokenizer=_pair(tokenizers),
        encoder=handle(EncoderModel, "encoder", "an encoder of its own"),
        scheduler=handle(SchedulerConfig, "scheduler", "a scheduler"),
        latent_space=_latent_space(parts, family),
    )


def _pair(handles: list[Any]) -> Any:
    """The first handle, which holds the second one where there are two (SDXL)."""
    return handles[0] if len(handles) == 1 else replace(handles[0], second=handles[1])


def _vae(handle: VaeModel) -> VaeModel:
    """A model without an autoencoder works on pixels: that is an autoencoder too, one that changes nothing."""
    return handle if handle.class_name else replace(handle, class_name=PIXEL_SPACE, config="{}", digest="pixel space")


def _scaling(family: str) -> dict[str, float]:
    scaling = FAMILIES[family].latent_scaling
    return {} if scaling is None else {"scaling_factor": scaling}


def _latent_space(parts: Mapping[str, Part], family: str) -> LatentSpace:
    """What the UNet's and the VAE's configurations say about latents (defaults: those of diffusers)."""
    unet = parts["unet"].config
    if "vae" not in parts:
        return LatentSpace(int(unet.get("in_channels", 3)), 1, 1.0, _side(unet.get("sample_size") or 32))
    vae = {**parts["vae"].config, **_scaling(family)}
    downsampling = 2 ** (len(vae.get("block_out_channels", (64,))) - 1)
    size = unet.get("sample_size") or int(vae.get("sample_size", 512)) // downsampling
    return LatentSpace(
        channels=int(vae.get("latent_channels", 4)),
        downsampling=downsampling,
        scaling_factor=float(vae.get("scaling_factor", 0.18215)),
        sample_size=_side(size),
        shift_factor=float(vae.get("shift_factor") or 0.0),
    )


def _side(size: Any) -> int:
    return int(max(size) if isinstance(size, (list, tuple)) else size)


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
        _latent_space(parts, families.recognise(parts))
        _tokenizer(parts, "text_encoder")
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


def _tokenizer(parts: Mapping[str, Part], encoder: str) -> dict[str, Any]:
    """What else the text nodes need of a tokenizer: a length, and what a closed model knows."""
    name = encoder.replace("text_encoder", "tokenizer")
    if name not in parts or encoder not in parts:
        return {}
    length = int(parts[encoder].config.get("max_position_embeddings", 77))
    more: dict[str, Any] = {"model_max_length": min(int(parts[name].config.get("model_max_length") or length), length)}
    for file in parts[name].files:
        if file.name in model_folder.CLOSED_VOCABULARY:
            more[file.stem] = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return more
