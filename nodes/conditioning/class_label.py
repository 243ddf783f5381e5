"""A class number as a condition: a context token (LDM), or a label beside the time embedding (LDM's `adm`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.models.handles import config_of
from nodes.types import Conditioning, EncoderModel, UNetModel

CLASSES = 1001
"""ImageNet's classes and the null class (`ClassEmbedder`'s default)."""

ClassId = Annotated[int, Field(ge=-1)]
"""-1 is the last class: the null class of a model that was trained to do without."""


def infer_encode(encoder: EncoderModel | None = None, class_id: int | None = None) -> Conditioning | None:
    """Shape of the context; refuses a class that the model does not know."""
    if encoder is None:
        return None
    config = _embedder(encoder)
    if class_id is not None:
        _number(class_id, int(config.get("n_classes", CLASSES)))
    context: Any = TensorSpec((1, 1, int(config.get("embed_dim", 512))), encoder.dtype)
    return Conditioning(context=context)


@node(category="conditioning", infer=infer_encode)
def encode_class(encoder: EncoderModel, class_id: ClassId = -1) -> Conditioning:
    """The context of a class: one token, the row of a table that was trained with the UNet.

    The last row is the null class, which took the place of the label in a tenth of the training: for guidance, it is
    the unconditional half. With 1001 rows (ImageNet) it is 1000; -1 means it, however many rows there are.

    Args:
        encoder: From `load_model`, of a class-conditional latent diffusion model.
        class_id: 0 .. classes - 1; -1 is the null class.

    Returns:
        A context (1, 1, width); it serves all images of a batch.

    Raises:
        InputError: the model has no such encoder, or no such class.

    Source: Rombach et al. 2022 (arXiv:2112.10752), sec. 4.1 and appendix C; Ho & Salimans 2022 (arXiv:2207.12598).
    """
    import torch

    from nodes.models.memory import weights

    number = _number(class_id, int(_embedder(encoder).get("n_classes", CLASSES)))
    with weights.use(encoder) as module, torch.no_grad():
        context = module(torch.tensor([number], device=encoder.device))
    return Conditioning(context=context)


def infer_vector(
    unet: UNetModel | None = None, class_id: int | None = None, conditioning: Conditioning | None = None
) -> Conditioning | None:
    """Shape of the label; refuses a class that the UNet does not know."""
    if unet is None:
        return None
    count = _class_count(unet)
    if class_id is not None:
        _number(class_id, count)
    label: Any = TensorSpec((1,), "int64")
    return replace(conditioning or Conditioning(), vector=label)


@node(category="conditioning", infer=infer_vector)
def class_vector(unet: UNetModel, class_id: ClassId = -1, conditioning: Conditioning | None = None) -> Conditioning:
    """The label of a class for a UNet that adds it to its time embedding (LDM's `adm`; diffusers' `num_class_embeds`).

    Args:
        unet: From `load_model`.
        class_id: 0 .. classes - 1; -1 is the last one, the null class of a model that was trained with one.
        conditioning: What else the UNet is to be given (context, say); without it, nothing.

    Returns:
        The conditioning with the vector, int64 (1,); it serves all images of a batch.

    Raises:
        InputError: the UNet takes no class, or there is no such class.
    """
    import torch

    label = torch.tensor([_number(class_id, _class_count(unet))], dtype=torch.int64)
    return replace(conditioning or Conditioning(), vector=label)


def _embedder(encoder: EncoderModel) -> Mapping[str, Any]:
    config = config_of(encoder, "encoder", "an encoder of classes")
    if encoder.class_name != "ClassEmbedder":
        raise InputError(
            "encoder", expected="an encoder of classes (ClassEmbedder)", got=f"a {encoder.class_name}",
            fix="use a class-conditional model, or the encoder node of this model's family",
        )  # fmt: skip
    return config


def _class_count(unet: UNetModel) -> int:
    config = config_of(unet, "unet", "a UNet")
    count, kind = config.get("num_class_embeds"), config.get("class_embed_type")
    if count is None or kind is not None:
        got = f"one with `class_embed_type` {kind}" if kind else "one that takes no class"
        raise InputError(
            "unet", expected="a UNet with a table of classes (`num_class_embeds`)", got=got,
            fix="`encode_class` is for models whose classes are context",
        )  # fmt: skip
    return int(count)


def _number(class_id: int, count: int) -> int:
    if class_id >= count:
        raise InputError(
            "class_id", expected=f"a class from 0 to {count - 1}, or -1 for the last one", got=str(class_id)
        )
    return count - 1 if class_id == -1 else class_id
