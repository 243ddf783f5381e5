"""Checkpoints in one safetensors file with the tensor names of CompVis' code: parts from the header, weights on demand.

The header tells family and configurations (`architecture`); weights are converted by diffusers' own converters, of the
part that is asked for only. What files do not hold is what the published models have: scheduler, tokenizer, sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from graphcore import InputError
from nodes.models.files import architecture, clip_tokenizer, safetensors_header
from nodes.models.files.architecture import Shapes
from nodes.models.part import Part
from nodes.types import ModelHandle

T = TypeVar("T")

UNET = "model.diffusion_model."
VAE = ("first_stage_model.", "vae.", "")
CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.", "conditioner.embedders.0.model.")
XL = "conditioner.embedders."
CONTROL = ("control_model.", "")
FORMAT = "single_file"
UPSCALER = "sd_x4_upscaler"

BETAS: Mapping[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
}  # fmt: skip
UPSCALER_BETAS: Mapping[str, Any] = {**BETAS, "beta_start": 0.0001, "beta_end": 0.02}
SD = {**BETAS, "set_alpha_to_one": False, "steps_offset": 1}
SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sd1": ("PNDMScheduler", {**SD, "skip_prk_steps": True}),
    "sd2": ("DDIMScheduler", {**SD, "clip_sample": False}),
    UPSCALER: ("DDIMScheduler", {**SD, **UPSCALER_BETAS, "clip_sample": False}),
    "sdxl": ("EulerDiscreteScheduler", {**BETAS, "timestep_spacing": "leading", "steps_offset": 1}),
}
"""The schedulers that the published models come with in diffusers."""

VAES: Mapping[str, Mapping[str, Any]] = {
    "sdxl": {"scaling_factor": 0.13025, "sample_size": 1024, "force_upcast": True},
    UPSCALER: {"scaling_factor": 0.08333, "sample_size": 256},
}
"""What the autoencoders of some families have that no shape tells."""

SD2_BASE_STEPS = 875_000
"""`global_step` of the Stable Diffusion 2 that was trained to predict noise; diffusers tells it by this number too."""

KNOWN = (
    "Stable Diffusion 1, 2 and XL (base, refiner, inpainting, x4 upscaler) with the key names of the original code; "
    "for others, give a folder in the diffusers layout"
)


def read(file: Path, prediction_type: str = "auto") -> dict[str, Part]:
    """The parts of a checkpoint, by the names in `model_folder.PARTS`.

    Args:
        prediction_type: `auto`, or what the UNet predicts where the file does not tell.

    Raises:
        InputError: it is damaged or no checkpoint of a whole model that is known.
    """
    shapes = _shapes(file)
    if not any(name.startswith(UNET) for name in shapes):
        raise _no_model(file, shapes)
    return _described(file, lambda: _parts(file, shapes, prediction_type))


def read_vae(file: Path) -> Part:
    """The autoencoder of a checkpoint, or of a file that holds nothing else.

    Raises:
        InputError: it is damaged or holds none.
    """
    shapes = _shapes(file)
    if _prefix(shapes, VAE, "decoder.conv_in.weight") is None or "decoder.mid_block.resnets.0.conv1.weight" in shapes:
        raise InputError(
            "path", expected="an autoencoder with the key names of the original code", got=_say(file, shapes),
            fix="for one that diffusers saved, give its folder (config.json beside the weights)",
        )  # fmt: skip
    return _described(file, lambda: _vae(file, shapes))


def read_controlnet(file: Path) -> Part:
    """A ControlNet in a file of its own, or in the checkpoint that it was trained in.

    Raises:
        InputError: it is damaged or holds none.
    """
    shapes = _shapes(file)
    prefix = _prefix(shapes, CONTROL, "input_hint_block.0.weight")
    if prefix is None:
        raise InputError(
            "path", expected="a ControlNet with the key names of the original code", got=_say(file, shapes),
            fix="for one that diffusers saved, give its folder (config.json beside the weights)",
        )  # fmt: skip
    make = partial(architecture.controlnet, _within(shapes, prefix))
    return _described(file, lambda: Part(str(file), "ControlNetModel", make(), (file,), FORMAT))


def load(handle: ModelHandle, dtype: str) -> Any:
    """The module of a handle whose layout is `single_file`, on the CPU.

    Raises:
        StepgraphError: the file is gone, has changed, or lacks tensors of the part.
    """
    from nodes.models.files import conversion

    return conversion.load(handle, dtype)


def _shapes(file: Path) -> Shapes:
    try:
        return safetensors_header.tensor_shapes(file)
    except (OSError, ValueError) as error:
        raise InputError(
            "path", expected=f"whole weights in {file}", got=f"{type(error).__name__}: {error}"[:300],
            fix="copy this file anew",
        ) from error  # fmt: skip


def _parts(file: Path, shapes: Shapes, prediction_type: str) -> dict[str, Part]:
    family = _family(shapes)
    predicts = _prediction(file, shapes, family) if prediction_type == "auto" else prediction_type
    name, settings = SCHEDULERS[family]
    text = _xl_text(file, shapes) if family == "sdxl" else _text(file, shapes, family)
    return {
        "unet": _unet(file, shapes, family, predicts == "v_prediction", refiner="tokenizer" not in text),
        "vae": _vae(file, shapes), **text,
        "scheduler": Part(str(file), name, settings, (), FORMAT, {"prediction_type": predicts}),
        **({"low_res_scheduler": _noise_of_pictures(file)} if family == UPSCALER else {}),
    }  # fmt: skip


def _family(shapes: Shapes) -> str:
    if any(name.startswith(XL) for name in shapes):
        return "sdxl"
    if not any(name.startswith(OPEN_CLIP[0]) for name in shapes):
        return "sd1"
    return UPSCALER if UNET + architecture.CLASSES in shapes else "sd2"


def _noise_of_pictures(file: Path) -> Part:
    """The schedule by which the upscaler's small picture is noised; its file holds it as tables only."""
    return Part(str(file), "DDPMScheduler", UPSCALER_BETAS, (), FORMAT, {"max_noise_level": 350})


def _unet(file: Path, shapes: Shapes, family: str, v_prediction: bool, *, refiner: bool) -> Part:
    """What the shapes do not tell: the size it was trained at; that attention of Stable Diffusion 2 overflows."""
    config = architecture.unet(_within(shapes, UNET)) | ({"upcast_attention": True} if family == "sd2" else {})
    size = 128 if family in ("sdxl", UPSCALER) else 96 if family == "sd2" and v_prediction else 64
    more = {"sample_size": size} | ({"requires_aesthetics_score": True} if refiner else {})
    return Part(str(file), "UNet2DConditionModel", config, (file,), FORMAT, more)


def _prediction(file: Path, shapes: Shapes, family: str) -> str:
    """What the UNet predicts: diffusers' rule for Stable Diffusion 2; for others, the mark `v_pred` that some bear."""
    if family == "sd2":
        base = safetensors_header.number(file, "global_step") == SD2_BASE_STEPS
        nine = shapes[f"{UNET}input_blocks.0.0.weight"][1] == 9
        return "epsilon" if base or nine else "v_prediction"
    return "v_prediction" if family == UPSCALER or "v_pred" in shapes else "epsilon"


def _vae(file: Path, shapes: Shapes) -> Part:
    """An autoencoder; alone, it does not tell its scaling factor: then it is that of Stable Diffusion 1 and 2."""
    prefix = _prefix(shapes, VAE, "decoder.conv_in.weight")
    if prefix is None:
        raise KeyError("first_stage_model.decoder.conv_in.weight")
    config = architecture.vae(_within(shapes, prefix))
    more = VAES.get(_family(shapes), {"scaling_factor": 0.18215, "sample_size": 512})
    return Part(str(file), "AutoencoderKL", config, (file,), FORMAT, more)


def _text(file: Path, shapes: Shapes, family: str) -> dict[str, Part]:
    second = family != "sd1"
    config = _open_clip(shapes, OPEN_CLIP[0]) if second else _clip(shapes, CLIP[0])
    encoder = Part(str(file), "CLIPTextModel", config, (file,), FORMAT)
    return {"text_encoder": encoder, "tokenizer": clip_tokenizer.part("!" if second else clip_tokenizer.END)}


def _xl_text(file: Path, shapes: Shapes) -> dict[str, Part]:
    """Two text encoders; one, of OpenCLIP, for the refiner."""
    refiner = not any(name.startswith(CLIP[1]) for name in shapes)
    config = _open_clip(shapes, OPEN_CLIP[2 if refiner else 1])
    zeros = {"force_zeros_for_empty_prompt": not refiner}
    second = Part(str(file), "CLIPTextModelWithProjection", config, (file,), FORMAT, zeros)
    found = {"text_encoder_2": second, "tokenizer_2": clip_tokenizer.part("!")}
    if not refiner:
        first = Part(str(file), "CLIPTextModel", _clip(shapes, CLIP[1]), (file,), FORMAT, zeros)
        found = {"text_encoder": first, "tokenizer": clip_tokenizer.part(), **found}
    return found


def _clip(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Some checkpoints have `text_model.` in the names of the encoder's tensors and some have not."""
    found = {name.removeprefix("text_model."): shape for name, shape in _within(shapes, prefix).items()}
    return architecture.clip(found)


def _open_clip(shapes: Shapes, prefix: str) -> dict[str, Any]:
    return architecture.open_clip(_within(shapes, prefix))


def _within(shapes: Shapes, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def _prefix(shapes: Shapes, prefixes: tuple[str, ...], name: str) -> str | None:
    """The prefix under which a tensor is there."""
    return next((prefix for prefix in prefixes if prefix + name in shapes), None)


def _described(file: Path, make: Callable[[], T]) -> T:
    """What a header tells, or a refusal in words."""
    try:
        return make()
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(
            "path", expected=f"a checkpoint of {KNOWN}",
            got=f"{file.name}, in which something is missing or else: {error}", fix="use a complete checkpoint",
        ) from error  # fmt: skip


def _no_model(file: Path, shapes: Shapes) -> InputError:
    return InputError("path", expected=f"a checkpoint of {KNOWN}", got=_say(file, shapes), fix=_where(shapes))


def _say(file: Path, shapes: Shapes) -> str:
    kinds = {
        "a LoRA": any(".lora_" in name or name.startswith("lora_") for name in shapes),
        "a ControlNet": _prefix(shapes, CONTROL, "input_hint_block.0.weight") is not None,
        "an IP-Adapter": any(name.startswith(("ip_adapter.", "image_proj.")) for name in shapes),
        "an autoencoder": _prefix(shapes, VAE, "decoder.conv_in.weight") is not None,
        "an embedding": len(shapes) <= 3,
    }
    kind = next((kind for kind, fits in kinds.items() if fits), "tensors named like " + ", ".join(sorted(shapes)[:2]))
    return f"{file.name}, which holds {kind}"


def _where(shapes: Shapes) -> str:
    """The node that reads such a file."""
    said = _say(Path("x"), shapes)
    nodes = {"LoRA": "load_lora", "ControlNet": "load_controlnet", "IP-Adapter": "load_ip_adapter",
             "autoencoder": "load_vae", "embedding": "load_textual_inversion"}  # fmt: skip
    return next((f"`{node}` reads it" for kind, node in nodes.items() if kind in said), "use a whole checkpoint")
