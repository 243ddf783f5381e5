"""The modules behind a model of ours, for oracles that want the very same weights."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import diffusers

from nodes.models import loading
from nodes.models.handles import settings
from nodes.models.memory import weights
from nodes.types import ModelHandle


def parts(path: str) -> dict[str, Any]:
    """The parts of `random:sd15` (say) as diffusers and transformers objects, by their names in a pipeline."""
    loaded = loading.load_model(path)
    found: dict[str, Any] = {
        name: _scheduler(handle)
        for name in ("scheduler", "low_res_scheduler") if (handle := getattr(loaded, name)).class_name
    }  # fmt: skip
    handles = {"unet": loaded.unet, "vae": loaded.vae, "encoder": loaded.encoder}
    handles |= _numbered("text_encoder", loaded.text_encoder)
    with ExitStack() as opened:
        for name, handle in handles.items():
            if handle.class_name and handle.layout:
                found[name] = opened.enter_context(weights.use(handle)) if handle.class_name != "PixelSpace" else None
    for name, handle in _numbered("tokenizer", loaded.tokenizer).items():
        if handle.class_name:
            found[name] = weights.tokenizer(handle)
    return found


def _numbered(name: str, handle: Any) -> dict[str, ModelHandle]:
    return {name: handle} if handle.second is None else {name: handle, f"{name}_2": handle.second}


def _scheduler(handle: ModelHandle) -> Any:
    return getattr(diffusers, handle.class_name).from_config(dict(settings(handle.config)))
