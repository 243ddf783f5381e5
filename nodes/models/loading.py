"""`load_model` and `load_vae`: parts of models as handles. Configurations and headers are read, weights are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import Field

from graphcore import InputError, node, note, runtime
from nodes.models import families, latent_spaces, part_checks, random_models, source
from nodes.models.families import FAMILIES
from nodes.models.files import model_folder
from nodes.models.handles import canonical
from nodes.models.options import Options
from nodes.models.part import Part
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

DType = Literal["auto", "float32", "float16", "bfloat16"]
Attention = Literal["sdpa", "eager", "sliced", "flex", "flash", "sage", "xformers"]
Offload = Literal["none", "cpu", "disk"]
Prediction = Literal["auto", "epsilon", "v_prediction", "sample"]

UPSCALER = "a `low_res_scheduler`, such as the Stable Diffusion x4 upscaler"

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
    low_res_scheduler: SchedulerConfig
    latent_space: LatentSpace


@dataclass(frozen=True, slots=True)
class _Way:
    """How the handles of a model are made: dtype and options of its parts; with digests of all weights or without."""

    dtype: str
    options: str
    digests: bool

    def handle(self, kind: type[H], part: Part, family: str, **more: Any) -> H:
        """The handle of a part."""
        config, digest = canonical({**part.settings, **more}), part.digest() if self.digests else ""
        options = self.options if kind.__stepgraph_weights__ else "{}"
        return kind(
            part.source, part.class_name, config, digest, runtime().device, self.dtype, family, part.layout, options
        )


# --- load_model --------------------------------------------------------------------------------------------------


def fingerprint(
    path: str, dtype: DType = "auto", attention: Attention = "sdpa", compile: bool = False,
    channels_last: bool = False, offload: Offload = "none", prediction_type: Prediction = "auto",
) -> tuple[str, ...]:  # fmt: skip
    """Of each output, the content that decides what it computes: the same in any folder."""
    way = _way(dtype, attention, compile, channels_last, offload, digests=True)
    return tuple(_content(value) for value in _model(_parts(path, prediction_type, download=True), way))


def infer(
    path: str | None = None, dtype: DType | None = "auto", attention: Attention | None = "sdpa",
    compile: bool | None = False, channels_last: bool | None = False, offload: Offload | None = "none",
    prediction_type: Prediction | None = "auto",
) -> LoadedModel | None:  # fmt: skip
    """What `load_model` gives, without hashing gigabytes of weights (the digests of the handles stay empty)."""
    if path is None:
        return None
    parts = _parts(path, prediction_type or "auto", download=False)
    if parts is None:
        return None
    way = _way(dtype or "auto", attention or "sdpa", bool(compile), bool(channels_last), offload, digests=False)
    return _model(parts, way)


@node(category="model", infer=infer, fingerprint=fingerprint)
def load_model(
    path: str = "builtin:emoji",
    dtype: DType = "auto",
    attention: Attention = "sdpa",
    compile: bool = False,  # torch's word for it
    channels_last: bool = False,
    offload: Offload = "none",
    prediction_type: Prediction = "auto",
) -> LoadedModel:
    """The parts of a model; weights are loaded by the nodes that need them, once per process.

    Args:
        path: A folder in the diffusers layout or a single-file checkpoint of Stable Diffusion 1, 2, XL or the x4
            upscaler, both relative to the workflow file or the current folder; `owner/name` or `owner/name@revision`
            for a model of the Hugging Face hub, fetched once into its cache; `builtin:emoji` for the small model that
            Stepgraph brings along; or `random:sd15` and the like for a tiny model with random weights. Weights must
            be .safetensors.
        dtype: Floating-point type of this model; `auto` is that of the run.
        attention: How attention is computed: `sdpa` by torch's fused kernels, `eager` plainly, `sliced` head by head
            with little memory; the others need their packages and a GPU.
        compile: Compile the modules by `torch.compile` at their first call: minutes once, then faster steps.
        channels_last: Keep the weights of convolutions in the layout that tensor cores prefer.
        offload: Where a part goes that is not needed now: `none` keeps it where it is as long as there is room, `cpu`
            moves it to memory, `disk` forgets it and reads it again. What a loop needs in turn (UNet and ControlNet)
            stays from its second step on, as far as the budget holds it.
        prediction_type: What the UNet predicts. `auto`: what its configuration says; for a single-file Stable
            Diffusion 2, v, unless it is known for the one that predicts noise. Pictures that stay noise or turn out
            brown are a sign of the wrong one.

    Raises:
        InputError: there is no such model, it is incomplete, pickled, or of a family that is not supported.
    """
    way = _way(dtype, attention, compile, channels_last, offload, digests=True)
    _note_random(path)
    return _model(_parts(path, prediction_type, download=True), way)


# --- load_vae ----------------------------------------------------------------------------------------------------


def fingerprint_vae(
    path: str, scaling_factor: float = 0.0, dtype: DType = "auto", channels_last: bool = False,
    offload: Offload = "none",
) -> str:  # fmt: skip
    """Content of its configuration and weights."""
    way = _way(dtype, "sdpa", False, channels_last, offload, digests=True)
    return _content(_autoencoder(path, scaling_factor, way, download=True))


def infer_vae(
    path: str | None = None, scaling_factor: float | None = None, dtype: DType | None = "auto",
    channels_last: bool | None = False, offload: Offload | None = "none",
) -> VaeModel | None:  # fmt: skip
    """What `load_vae` gives, without its digest."""
    if path is None or scaling_factor is None:
        return None
    way = _way(dtype or "auto", "sdpa", False, bool(channels_last), offload, digests=False)
    return _autoencoder(path, scaling_factor, way, download=False)


@node(category="model", infer=infer_vae, fingerprint=fingerprint_vae)
def load_vae(
    path: str,
    scaling_factor: Annotated[float, Field(ge=0)] = 0.0,
    dtype: DType = "auto",
    channels_last: bool = False,
    offload: Offload = "none",
) -> VaeModel:
    """An autoencoder alone, to use in the place of a model's own.

    Args:
        path: The folder of an autoencoder (AutoencoderKL, VQModel or the fast AutoencoderTiny), a single file with one,
            or a whole model of whatever kind `load_model` takes, of which only the autoencoder is used;
            `random:taesd` for a tiny AutoencoderTiny with random weights.
        scaling_factor: Latents are its encoding times this. 0 is what its configuration says, or the model around it; a
            single file with nothing but an autoencoder does not tell: 0.18215 then, right for Stable Diffusion 1
            and 2, where SDXL has 0.13025.
        dtype, channels_last, offload: As in `load_model`.

    Raises:
        InputError: there is no such thing, it is incomplete, pickled, or has no autoencoder.
    """
    way = _way(dtype, "sdpa", False, channels_last, offload, digests=True)
    _note_random(path)
    found = _autoencoder(path, scaling_factor, way, download=True)
    assert found is not None  # it was to be fetched
    return found


# --- both --------------------------------------------------------------------------------------------------------


def _way(
    dtype: str, attention: str, compiled: bool, channels_last: bool, offload: str | None, *, digests: bool
) -> _Way:
    options = Options(attention, compiled, channels_last, "" if offload in (None, "none") else str(offload))
    return _Way(runtime().dtype if dtype == "auto" else dtype, options.text(), digests)


def _note_random(path: str) -> None:
    if path.startswith(random_models.RANDOM):
        note(f"{path} has random weights: it makes no picture of anything, it only shows that a workflow runs")


def _parts(path: str, prediction_type: str, *, download: bool) -> dict[str, Part] | None:
    """The parts of the model at a path, of kinds that the nodes can run."""
    parts = source.parts(path, prediction_type, download=download)
    if parts is None:
        return None
    if "unet" not in parts:
        raise InputError(
            "path", expected="a whole model", got=f"{path!r}, {' and '.join(parts)} alone",
            fix="`load_vae` reads an autoencoder alone",
        )  # fmt: skip
    part_checks.check(parts)
    return parts


def _model(parts: Mapping[str, Part] | None, way: _Way) -> LoadedModel:
    assert parts is not None  # it was to be fetched
    family = families.recognise(parts)
    predicts = {"prediction_type": parts["scheduler"].settings.get("prediction_type", "epsilon")}

    def handle(kind: type[H], name: str, what: str, **more: Any) -> H:
        if name in parts:
            return way.handle(kind, parts[name], family, **more)
        absent = canonical({"family": FAMILIES[family].title, "instead": f"use a model with {what}"})
        return kind("", "", absent, f"no {name}", runtime().device, runtime().dtype, family)

    text_encoders = [name for name in ("text_encoder", "text_encoder_2") if name in parts] or ["text_encoder"]
    encoders = [handle(TextEncoderModel, name, "a text encoder") for name in text_encoders]
    tokenizers = [
        handle(TokenizerModel, name.replace("text_encoder", "tokenizer"), "a tokenizer", **_tokenizer(parts, name))
        for name in text_encoders
    ]
    return LoadedModel(
        unet=handle(UNetModel, "unet", "a UNet", **predicts),
        vae=_or_pixels(handle(VaeModel, "vae", "an autoencoder", **latent_spaces.scaling(family))),
        text_encoder=_pair(encoders),
        tokenizer=_pair(tokenizers),
        encoder=handle(EncoderModel, "encoder", "an encoder of its own"),
        scheduler=handle(SchedulerConfig, "scheduler", "a scheduler"),
        low_res_scheduler=handle(SchedulerConfig, "low_res_scheduler", UPSCALER),
        latent_space=latent_spaces.of_model(parts, family),
    )


def _autoencoder(path: str, scaling_factor: float, way: _Way, *, download: bool) -> VaeModel | None:
    parts = source.vae(path, scaling_factor or None, download=download)
    if parts is None:
        return None
    if "vae" not in parts:
        raise InputError(
            "path", expected="an autoencoder", got=f"{path!r}, a model without one",
            fix="models that work on pixels need none",
        )  # fmt: skip
    part_checks.check_vae(parts["vae"])
    family = families.recognise(parts) if "unet" in parts else ""
    more = {} if scaling_factor else latent_spaces.scaling(family)
    return way.handle(VaeModel, parts["vae"], family, **more)


def _pair(handles: list[Any]) -> Any:
    """The first handle, which holds the second one where there are two (SDXL)."""
    return handles[0] if len(handles) == 1 else replace(handles[0], second=handles[1])


def _or_pixels(handle: VaeModel) -> VaeModel:
    """A model without an autoencoder works on pixels: that is an autoencoder too, one that changes nothing."""
    return handle if handle.class_name else replace(handle, class_name=PIXEL_SPACE, config="{}", digest="pixel space")


def _content(value: Any) -> str:
    """Identity of one output: of a handle, what it computes and how; of anything else, its fields."""
    if not isinstance(value, ModelHandle):
        return repr(astuple(value))
    second = getattr(value, "second", None)
    mine = f"{value.class_name} {value.config} {value.digest} {value.family}"
    if value.__stepgraph_weights__:
        mine = f"{mine} {value.dtype} {value.options}"
    return mine if second is None else f"{mine} {_content(second)}"


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
