"""The weights of a single-file checkpoint as the modules of diffusers and transformers.

Renaming is diffusers' own. Only the tensors of the part that is asked for are read, each copied once.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders import single_file_utils as converters
from safetensors import safe_open
from torch import Tensor

from graphcore import InputError, StepgraphError
from nodes.models import classes
from nodes.models.files import single_file
from nodes.models.handles import settings
from nodes.models.part import Part, place
from nodes.types import ModelHandle

Tensors = dict[str, Tensor]
Config = Mapping[str, Any]


def load(handle: ModelHandle, dtype: str) -> torch.nn.Module:
    """As `single_file.load`."""
    file, config = _file(handle), settings(handle.config)
    try:
        prefixes, convert = CONVERSIONS[handle.class_name]
        with safe_open(file, framework="pt") as opened:
            prefix = _prefix(opened.keys(), prefixes, handle.class_name)
            found = {name: opened.get_tensor(name) for name in opened.keys() if name.startswith(prefix)}  # noqa: SIM118
            return _fill(handle, convert(found, config, prefix), getattr(torch, dtype))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepgraphError(f"the weights in {file} cannot be loaded as {handle.class_name}: {error}") from error


def _fill(handle: ModelHandle, tensors: Tensors, dtype: torch.dtype) -> torch.nn.Module:
    """A module with these weights in its dtype: it is built without any, and given them."""
    with init_empty_weights():
        module = classes.build(handle.class_name, settings(handle.config))
    wanted = dict(module.named_parameters()) | dict(module.named_buffers())
    absent = sorted(name for name in module.state_dict() if name not in tensors)
    strangers = sorted(name for name in tensors if name not in wanted)
    if absent or strangers:
        lacks = f"lacks {len(absent)} tensors of" if absent else f"has {len(strangers)} tensors more than"
        named = ", ".join((absent or strangers)[:3])
        raise StepgraphError(f"{handle.source} {lacks} a {handle.class_name} ({named}); it is another model's")
    own = {}
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(wanted[name].shape):
            raise ValueError(f"{name} is {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}")
        # A copy: what is mapped from the file would change with it, and lies where the file has it.
        own[name] = torch.empty(tensor.shape, dtype=dtype if tensor.is_floating_point() else tensor.dtype).copy_(tensor)
    module.load_state_dict(own, assign=True)
    return module


def _file(handle: ModelHandle) -> Path:
    """Where the content of a handle lies now; other content must never be loaded under its digest."""
    for source in (handle.source, place(handle.digest)):
        if source is not None and Path(source).is_file() and (not handle.digest or _holds(Path(source), handle)):
            return Path(source)
    raise StepgraphError(f"the checkpoint {handle.source} is gone, or it changed while the workflow ran; run it again")


def _holds(file: Path, handle: ModelHandle) -> bool:
    try:
        return any(part.digest() == handle.digest for part in _candidates(file, handle))
    except InputError:
        return False


def _candidates(file: Path, handle: ModelHandle) -> list[Part]:
    """The parts of that class that the file may be read as."""
    if handle.class_name == "ControlNetModel":
        return [single_file.read_controlnet(file)]
    if handle.class_name == "AutoencoderKL":
        return [single_file.read_vae(file)]
    return [part for part in single_file.read(file).values() if part.class_name == handle.class_name]


def _prefix(names: list[str], prefixes: tuple[str, ...], class_name: str) -> str:
    """The first prefix that any tensor has; the empty one fits all."""
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in names):
            return prefix
    raise KeyError(f"no tensor of a {class_name}")


def _unet(found: Tensors, config: Config, prefix: str) -> Tensors:
    return dict(converters.convert_ldm_unet_checkpoint(found, dict(config)))


def _controlnet(found: Tensors, config: Config, prefix: str) -> Tensors:
    return dict(converters.convert_controlnet_checkpoint(found, dict(config)))


def _vae(found: Tensors, config: Config, prefix: str) -> Tensors:
    return dict(converters.convert_ldm_vae_checkpoint(found, dict(config)))


def _clip(found: Tensors, config: Config, prefix: str) -> Tensors:
    """Names as they are in transformers; `position_ids`, which old checkpoints hold, is no weight."""
    if prefix in single_file.CLIP:
        tensors = {name.removeprefix(prefix).removeprefix("text_model."): tensor for name, tensor in found.items()}
        return {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    tensors = _open_clip(found, config, prefix)
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items() if "projection" not in name}


def _open_clip(found: Tensors, config: Config, prefix: str) -> Tensors:
    asked: Any = SimpleNamespace(config=SimpleNamespace(hidden_size=config["hidden_size"]))
    return dict(converters.convert_open_clip_checkpoint(asked, found, prefix=prefix))


CONVERSIONS: Mapping[str, tuple[tuple[str, ...], Callable[[Tensors, Config, str], Tensors]]] = {
    "UNet2DConditionModel": ((single_file.UNET,), _unet),
    "ControlNetModel": (single_file.CONTROL, _controlnet),
    "AutoencoderKL": (single_file.VAE, _vae),
    "CLIPTextModel": ((*single_file.CLIP, single_file.OPEN_CLIP[0]), _clip),
    "CLIPTextModelWithProjection": (single_file.OPEN_CLIP[1:], _open_clip),
}
"""Class: prefixes of its tensors, and how they are renamed."""
