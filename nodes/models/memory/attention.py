"""Attention backends of a module: how softmax(QK')V is computed, not what comes out.

Heavy: import this inside functions only. The processors are set on each attention layer; diffusers' own
`set_attention_backend` would also change the default of the whole process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor

from graphcore import StepgraphError

TRANSFORMERS = {"eager": "eager", "flex": "flex_attention", "flash": "flash_attention_2"}
"""Our names in the words of transformers; text encoders keep their default where it has none."""


class Sliced(SlicedAttnProcessor):  # type: ignore[misc]
    """One head of one picture at a time."""

    def __init__(self) -> None:
        super().__init__(slice_size=1)

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,  # autoencoders give it, nothing uses it
    ) -> torch.Tensor:
        found: torch.Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask)
        return found


class Dispatched:
    """Attention by a backend of `diffusers.models.attention_dispatch`; around it, the steps of `AttnProcessor2_0`."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        residual, shape = hidden_states, hidden_states.shape
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        mixed = self._mix(attn, hidden_states, context, attention_mask)
        hidden_states = attn.to_out[1](attn.to_out[0](mixed))
        if len(shape) == 4:
            hidden_states = hidden_states.transpose(-1, -2).reshape(shape)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        found: torch.Tensor = hidden_states / attn.rescale_output_factor
        return found

    def _mix(
        self, attn: Attention, hidden_states: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Values of the context, mixed by attention: (batch, tokens, heads * width)."""
        batch, tokens, _ = context.shape
        if mask is not None:
            mask = attn.prepare_attention_mask(mask, tokens, batch)
            mask = mask.view(batch, attn.heads, -1, mask.shape[-1])
        query, key, value = (
            layer(states).unflatten(-1, (attn.heads, -1))  # (batch, tokens, heads, width)
            for layer, states in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)
        mixed = attention_dispatch.dispatch_attention_fn(query, key, value, mask, backend=self.backend)
        flat: torch.Tensor = mixed.flatten(2).to(query.dtype)
        return flat


def apply(module: torch.nn.Module, backend: str) -> None:
    """Compute the attention of a module by a backend (one of `options.ATTENTIONS`). The module given is changed.

    Layers that an adapter has given a processor of its own keep it.

    Raises:
        StepgraphError: the backend needs a package that is not installed.
    """
    if backend == "sdpa":
        return
    make = _maker(backend)
    for layer in module.modules():
        ours = isinstance(layer, Attention) and type(layer.processor) in (AttnProcessor, AttnProcessor2_0)
        if ours and layer.spatial_norm is None:
            layer.set_processor(make())
    implementation = TRANSFORMERS.get(backend)
    if implementation is not None and (select := getattr(module, "set_attn_implementation", None)):
        _select(select, implementation, backend)


def _maker(backend: str) -> Callable[[], Any]:
    if backend == "eager":
        return lambda: AttnProcessor()
    if backend == "sliced":
        return Sliced
    try:
        attention_dispatch._check_attention_backend_requirements(attention_dispatch.AttentionBackendName(backend))
    except RuntimeError as error:
        raise _unusable(backend, error) from error
    return lambda: Dispatched(backend)


def _select(select: Callable[[str], None], implementation: str, backend: str) -> None:
    try:
        select(implementation)
    except (ImportError, ValueError) as error:
        raise _unusable(backend, error) from error


def _unusable(backend: str, error: Exception) -> StepgraphError:
    return StepgraphError(f"attention backend `{backend}` cannot be used here: {error} Use `sdpa`, the default.")
