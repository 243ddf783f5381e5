"""Changes to a model part (LoRA, adapters, new tokens) as values: a patched module shares the weights of its base.

Heavy: import this inside functions only.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib import import_module
from typing import Any

import torch

from graphcore import StepgraphError
from nodes.models.adapters import ip_adapter, lora, textual_inversion
from nodes.types import ModelHandle, Patch, TokenizerModel


def copy_modules(base: torch.nn.Module) -> torch.nn.Module:
    """A copy of a module tree whose parameters and buffers are those of the base: nothing is held twice."""
    shared = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    return copy.deepcopy(base, shared)


def apply(module: torch.nn.Module, handle: ModelHandle) -> torch.nn.Module:
    """The module with all patches of a handle, in order. The module given is changed: give a copy.

    Patches of one kind go in together: adapters of attention are weighed against each other.

    Raises:
        StepgraphError: a patch does not fit the module, or its file has changed.
    """
    kinds: dict[str, list[Patch]] = {}
    for patch in handle.patches:
        kinds.setdefault(patch.kind, []).append(patch)
    content = _has_content(module)
    # New layers are initialised at random before their weights come: the global random state stays as it was.
    with torch.random.fork_rng(devices=[]), _quiet(), nullcontext() if content else _staying(module):
        for kind, patches in kinds.items():
            _apply(module, kind, patches, content=content)
    return module.eval().requires_grad_(False)


def apply_to_tokenizer(tokenizer: Any, handle: TokenizerModel) -> Any:
    """The tokenizer with the new tokens of a handle's patches."""
    for patch in handle.patches:
        if patch.kind != textual_inversion.KIND:
            raise StepgraphError(f"there is no patch of kind `{patch.kind}` for tokenizers")
    return textual_inversion.extend_tokenizer(tokenizer, handle.patches)


def _apply(module: torch.nn.Module, kind: str, patches: list[Patch], *, content: bool) -> None:
    if kind == lora.KIND:
        if content:  # else there is nothing to see: layers keep their shapes, and peft cannot work on fake tensors
            from nodes.models.adapters import lora_weights

            lora_weights.apply(module, patches)
    elif kind == textual_inversion.KIND:
        textual_inversion.extend_embeddings(module, patches, content=content)
    elif kind == ip_adapter.KIND:
        ip_adapter.apply(module, patches, content=content)
    else:
        raise StepgraphError(f"there is no patch of kind `{kind}`")


def _has_content(module: torch.nn.Module) -> bool:
    """False for modules of a deep check, whose parameters are torch's fake tensors."""
    return not any(hasattr(parameter, "fake_mode") or parameter.is_meta for parameter in module.parameters())


@contextmanager
def _staying(module: Any) -> Iterator[None]:
    """Libraries move a module after they changed it, even to where it is; torch cannot move fake tensors."""
    module.to = lambda *_, **__: module
    try:
        yield
    finally:
        del module.to


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, and without warnings of what is meant to be so (a second LoRA in a module, say).

    What matters in them, a weight that found no place, is checked by the patches themselves.
    """
    with ExitStack() as after, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        for library in ("diffusers", "transformers"):
            logging = import_module(f"{library}.utils.logging")
            after.callback(logging.set_verbosity, logging.get_verbosity())
            if logging.is_progress_bar_enabled():
                after.callback(logging.enable_progress_bar)
            logging.set_verbosity_error()
            logging.disable_progress_bar()
        yield
