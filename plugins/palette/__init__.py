"""A worked example of a plugin: a new conditioning type, a palette of colours. See README.md beside this file.

The top module holds the node; Stepgraph finds it here. Nothing heavy is imported at the top: listing and checking
nodes must not load torch.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from graphcore import InputError, TensorSpec, node, note
from nodes.types import Conditioning, UNetModel

from .colors import parse

Color = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
Into = Literal["context", "vector"]


def infer(
    unet: UNetModel | None = None,
    colors: list[str] | None = None,
    text: Any = ...,  # three cases: no text, a text, and (missing) a text of which nothing is known yet
    into: Into = "context",
    strength: float = 1.0,
) -> Conditioning | None:
    """The shapes of the result, from the model's configuration alone."""
    if unet is None:
        return None
    if colors is not None:
        _check(colors)
    count = None if colors is None else len(colors)
    batch, length, context = (None, None, None) if text is ... else (1, 0, None)
    if text not in (None, ...) and text.context is not None:
        context = text.context
        batch, length, width = context.shape
        _check_width(unet, width)
    made: Any  # a TensorSpec stands where the tensor will be
    if into == "vector":
        made = TensorSpec((batch, vector_width(unet)), unet.dtype)
        return Conditioning(context, vector=made)
    longer = None if length is None or count is None else length + count
    made = TensorSpec((batch, longer, context_width(unet)), unet.dtype)
    return Conditioning(made)


@node(category="conditioning", infer=infer)
def palette_encoder(
    unet: UNetModel,
    colors: Annotated[list[Color], Field(min_length=1, max_length=16)],
    text: Conditioning | None = None,
    into: Into = "context",
    strength: Annotated[float, Field(ge=0, le=10)] = 1.0,
) -> Conditioning:
    """Conditioning on a few colours. UNTRAINED: no model has learnt what these tokens mean.

    Each colour becomes one token: its place in OKLab (Ottosson 2020), as Fourier features (Tancik et al. 2020,
    arXiv:2006.10739), through a fixed random projection of unit variance. The same colours always give the same tokens,
    which is what training would need; until a UNet is fine-tuned with them, they disturb a picture more than they
    colour it.

    Args:
        unet: The model that the conditioning is for: it says how wide a token or a vector is.
        colors: Such as "#ff8800"; 1 to 16 of them. Their order does not matter to the UNet.
        text: Conditioning to append the tokens (or add the vector) to.
        into: `context`: one cross-attention token per colour, (batch, tokens + colours, width). `vector`: their mean
            as a vector for the time embedding, (batch, width), for a UNet that takes one.
        strength: Factor on the tokens; 1 is the spread of CLIP's tokens.
    """
    from .encoder import with_tokens, with_vector

    _check(colors)
    note("the palette encoder is untrained: its colours disturb the picture more than they colour it")
    text = text or Conditioning()
    if into == "vector":
        return with_vector(text, parse(colors), vector_width(unet), strength, unet)
    if text.context is not None:
        _check_width(unet, text.context.shape[2])
    return with_tokens(text, parse(colors), context_width(unet), strength, unet)


def context_width(unet: UNetModel) -> int:
    """Width of the cross-attention tokens that a UNet takes."""
    config = json.loads(unet.config)
    width = config.get("encoder_hid_dim") or config.get("cross_attention_dim")
    if isinstance(width, list):
        width = width[0] if len(set(width)) == 1 else None
    if not width:
        raise InputError("unet", expected="a UNet with cross-attention of one width", got="one without")
    return int(width)


def vector_width(unet: UNetModel) -> int:
    """Width of the vector that a UNet adds to its time embedding."""
    config = json.loads(unet.config)
    width = config.get("projection_class_embeddings_input_dim")
    if config.get("class_embed_type") in ("projection", "simple_projection") and width:
        return int(width)
    if config.get("class_embed_type") == "identity":
        return int(config.get("time_embedding_dim") or config["block_out_channels"][0] * 4)
    if config.get("addition_embed_type") == "text_time" and width:
        return int(width) - 6 * int(config["addition_time_embed_dim"])
    raise InputError(
        "into", expected="a UNet that takes a vector", got="one that takes tokens only", fix='use `"into": "context"`'
    )


def _check(colors: list[str]) -> None:
    try:
        parse(colors)
    except ValueError as error:
        raise InputError("colors", expected='1 to 16 colours such as "#ff8800"', got=str(error)) from error


def _check_width(unet: UNetModel, width: int | None) -> None:
    if width is not None and width != context_width(unet):
        raise InputError(
            "text", expected=f"tokens of width {context_width(unet)}, as the UNet takes them", got=f"width {width}",
            fix="encode the text with the text encoder of the same model",
        )  # fmt: skip
