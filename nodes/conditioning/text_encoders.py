"""Running the text encoders of the families: which hidden state is the context, and how weights change it.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from typing import Any

import torch

from nodes.models.memory import weights
from nodes.types import TextEncoderModel, Tokens


def encode(
    handle: TextEncoderModel, tokens: Tokens, clip_skip: int, *, penultimate: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Context (1, chunks * length, width), and pooled text (1, width) from an encoder with a projection.

    Args:
        clip_skip: How many of the last layers to leave out.
        penultimate: Take the state before the last layer, without the final norm (SDXL).
    """
    ids = tokens.ids.to(handle.device)
    with weights.use(handle) as module, torch.no_grad():
        states, pooled = _penultimate(module, ids, clip_skip) if penultimate else (_last(module, ids, clip_skip), None)
    if tokens.weights is not None:
        states = emphasise(states, tokens.weights.to(states.device))
    return states.reshape(1, -1, states.shape[-1]), pooled


def _last(module: Any, ids: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """The last hidden state, or an earlier one, after the final layer norm."""
    if not clip_skip:
        last: torch.Tensor = module(ids)[0]
        return last
    states = module(ids, output_hidden_states=True).hidden_states[-(clip_skip + 1)]
    tower = getattr(module, "text_model", module)  # transformers 5.6 took the inner module away, but for some classes
    normed: torch.Tensor = tower.final_layer_norm(states)
    return normed


def _penultimate(module: Any, ids: torch.Tensor, clip_skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The hidden state before the last layer, or an earlier one; the projected end token of the first chunk."""
    found = module(ids, output_hidden_states=True)
    pooled = getattr(found, "text_embeds", None)
    return found.hidden_states[-(clip_skip + 2)], None if pooled is None else pooled[:1].clone()


def emphasise(states: torch.Tensor, token_weights: torch.Tensor) -> torch.Tensor:
    """Hidden states times the weights of their tokens, with the mean that they had in each chunk.

    Args:
        states: (chunks, length, width).
        token_weights: (chunks, length).
    """
    plain = states.float()
    scaled = plain * token_weights[..., None]
    before, after = (each.mean(dim=(1, 2), keepdim=True) for each in (plain, scaled))
    kept = torch.where(after == 0, torch.ones_like(after), before / after)
    # A chunk whose weights are all 1 stays as it is, to the last bit.
    weighted = (token_weights != 1).any(dim=1)[:, None, None]
    return torch.where(weighted, scaled * kept, plain).to(states.dtype)
