"""Changes to a model part (LoRA, adapters, new tokens) as values: a patched module shares the weights of its base.

Heavy: import this inside functions only.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from graphcore import StepgraphError
from nodes.types import ModelHandle, TokenizerModel


def copy_modules(base: torch.nn.Module) -> torch.nn.Module:
    """A copy of a module tree whose parameters and buffers are those of the base: nothing is held twice."""
    shared = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    return copy.deepcopy(base, shared)


def apply(module: torch.nn.Module, handle: ModelHandle) -> torch.nn.Module:
    """The module with all patches of a handle, in order. The module given is changed: give a copy.

    Raises:
        StepgraphError: a patch does not fit the module.
    """
    for patch in handle.patches:
        raise StepgraphError(f"there is no patch of kind `{patch.kind}`")
    return module


def apply_to_tokenizer(tokenizer: Any, handle: TokenizerModel) -> Any:
    """The tokenizer with the new tokens of a handle's patches."""
    for patch in handle.patches:
        raise StepgraphError(f"there is no patch of kind `{patch.kind}` for tokenizers")
    return tokenizer
