"""What SDXL wants to know of a picture beside the text: its sizes, how it was cropped, how beautiful it is to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.models import unet_inputs
from nodes.models.handles import config_of
from nodes.pictures.images import Side
from nodes.types import Conditioning, Latents, UNetModel

WITH_AESTHETIC_SCORE = 5
"""How many numbers SDXL's refiner takes: original height and width, crop, score."""


def infer(
    unet: UNetModel | None = None, conditioning: Conditioning | None = None, latents: Latents | None = None
) -> Conditioning | None:
    """The conditioning with as many numbers as the UNet takes."""
    if unet is None or conditioning is None:
        return None
    config = config_of(unet, "unet", "a UNet")
    if not unet_inputs.takes_text_time(config):
        return conditioning

    def add(one: Conditioning) -> Conditioning:
        _need_vector(one)
        count = _count(config, one)
        numbers: Any = TensorSpec((1, count), "float32")
        return replace(one, time_ids=numbers)

    return _everywhere(conditioning, add)


@node(category="text", infer=infer)
def add_sizes(
    unet: UNetModel,
    conditioning: Conditioning,
    latents: Latents,
    original_width: Side = 0,
    original_height: Side = 0,
    crop_left: Side = 0,
    crop_top: Side = 0,
    target_width: Side = 0,
    target_height: Side = 0,
    aesthetic_score: Annotated[float, Field(ge=0, le=10)] = 6.0,
) -> Conditioning:
    """The conditioning with SDXL's `time_ids`; of a UNet that takes none, the conditioning as it is.

    SDXL was trained on pictures of many sizes, and told the size and the crop of each (arXiv:2307.01952, sec. 2.2).

    Args:
        unet: The UNet that the conditioning is for.
        conditioning: From `encode_text`, with the pooled text as `vector`.
        latents: Of the size of the picture that is to be made.
        original_width, original_height: Size of the training picture that it is to look like, in pixels, before it
            was cropped; 0 takes the size of `latents`. Small ones give blurred pictures.
        crop_left, crop_top: Pixels cut off at the left and the top; 0, 0 keeps the thing in the middle.
        target_width, target_height: Size after the crop; 0 takes the size of `latents`. The refiner is not told.
        aesthetic_score: Only the refiner is told; 6 is usual for the prompt, 2.5 for the negative prompt.

    Returns:
        With `time_ids`, float32 (1, 6): original height and width, crop top and left, target height and width; for the
        refiner (1, 5): aesthetic score in place of the target size.

    Raises:
        InputError: the UNet wants sizes and the conditioning has no pooled text, or one of another width.
    """
    import torch

    config = config_of(unet, "unet", "a UNet")
    if not unet_inputs.takes_text_time(config):
        return conditioning
    height, width = (int(side) * latents.space.downsampling for side in latents.samples.shape[-2:])
    shown = [original_height or height, original_width or width, crop_top, crop_left]
    target = [target_height or height, target_width or width]

    def add(one: Conditioning) -> Conditioning:
        _need_vector(one)
        tail = [aesthetic_score] if _count(config, one) == WITH_AESTHETIC_SCORE else target
        return replace(one, time_ids=torch.tensor([[*shown, *tail]], dtype=torch.float32))

    return _everywhere(conditioning, add)


def _everywhere(conditioning: Conditioning, change: Callable[[Conditioning], Conditioning]) -> Conditioning:
    """A conditioning changed, or each region of it."""
    if not conditioning.regions:
        return change(conditioning)
    changed = tuple(replace(region, conditioning=change(region.conditioning)) for region in conditioning.regions)
    return replace(conditioning, regions=changed)


def _need_vector(conditioning: Conditioning) -> None:
    if conditioning.vector is None:
        raise InputError(
            "conditioning", expected="a conditioning with pooled text (`vector`), as SDXL's UNet takes",
            got="one without", fix="make it with `encode_text` and SDXL's text encoders",
        )  # fmt: skip


def _count(config: unet_inputs.Config, conditioning: Conditioning) -> int | None:
    """How many numbers the UNet takes beside a vector of this width; None if that is not known.

    Raises:
        InputError: none that the node can make.
    """
    assert conditioning.vector is not None
    width = tuple(conditioning.vector.shape)[-1]
    if width is None:
        return None
    whole = int(config.get("projection_class_embeddings_input_dim") or 2816)
    each = int(config.get("addition_time_embed_dim") or 256)
    for count in (unet_inputs.SIZES_AND_CROPS, WITH_AESTHETIC_SCORE):
        if width + count * each == whole:
            return count
    raise InputError(
        "conditioning", expected=f"pooled text of width {whole - unet_inputs.SIZES_AND_CROPS * each}",
        got=str(TensorSpec(tuple(conditioning.vector.shape))), fix=unet_inputs.SAME_MODEL,
    )  # fmt: skip
