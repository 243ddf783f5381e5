"""What a ControlNet and a T2I-Adapter want to be given, read from their configurations: checked before a run and in it.

Works on tensors and on `TensorSpec`s alike; sizes that are not known pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graphcore import InputError
from nodes.models import unet_inputs
from nodes.models.handles import config_of
from nodes.types import AdapterModel, Conditioning, ControlNetModel, Image, Latents

if TYPE_CHECKING:
    import torch

Config = Mapping[str, Any]

OTHER_FAMILY = "use a ControlNet that was trained for this model's family, or a model of the ControlNet's family"


def each(conditioning: Conditioning, change: Callable[[Conditioning], Conditioning]) -> Conditioning:
    """A conditioning changed as a whole, or in each of its regions."""
    if not conditioning.regions:
        return change(conditioning)
    parts = (replace(region, conditioning=change(region.conditioning)) for region in conditioning.regions)
    return replace(conditioning, regions=tuple(parts))


def readable(conditioning: Conditioning) -> Conditioning:
    """What a ControlNet reads of a conditioning without regions.

    It has no input channels beside the latents, no IP-Adapter of its own and, in diffusers, no mask for the context.
    """
    return Conditioning(conditioning.context, vector=conditioning.vector, time_ids=conditioning.time_ids)


def check(
    controlnet: ControlNetModel, image: Image | None, latents: Latents | None, conditioning: Conditioning | None
) -> None:
    """Refuse a ControlNet that was trained for another model, or a picture that it cannot take.

    Raises:
        InputError: with port, what was expected, what came, and the likely fix.
    """
    config = config_of(controlnet, "controlnet", "a ControlNet")
    if latents is not None:
        _check_latents(config, latents)
    if image is not None:
        _check_image(config, image, latents)
    if conditioning is not None:
        parts = [region.conditioning for region in conditioning.regions] or [conditioning]
        for part in parts:
            _check_conditioning(controlnet, config, latents, part)


def residual_shapes(
    controlnet: ControlNetModel, height: int | None, width: int | None
) -> list[tuple[int, int | None, int | None]]:
    """Channels, height and width of each residual for latents of that size; some ControlNets give only means."""
    config = config_of(controlnet, "controlnet", "a ControlNet")
    found = unet_inputs.residual_shapes(config, height, width)
    return [(number, 1, 1) for number, _, _ in found] if config.get("global_pool_conditions") else found


def downsampling(config: Config) -> int:
    """Pixels of the picture per latent along each side: the strides of the ControlNet's first convolutions."""
    return int(2 ** (len(config.get("conditioning_embedding_out_channels") or (16, 32, 96, 256)) - 1))


def _check_latents(config: Config, latents: Latents) -> None:
    shape, wanted = tuple(latents.samples.shape), int(config.get("in_channels", 4))
    if len(shape) != 4 or not unet_inputs.same(shape[1], wanted):
        raise InputError(
            "controlnet", expected=f"a ControlNet for latents of {shape[1] if len(shape) > 1 else '?'} channels",
            got=f"one for {wanted}", fix=OTHER_FAMILY,
        )  # fmt: skip
    if latents.space.downsampling != downsampling(config):
        raise InputError(
            "controlnet", expected=f"a ControlNet for {latents.space.downsampling} pixels per latent",
            got=f"one for {downsampling(config)}", fix=OTHER_FAMILY,
        )  # fmt: skip


def _check_image(config: Config, image: Image, latents: Latents | None) -> None:
    batch, channels, *sides = image.pixels.shape
    if not unet_inputs.same(channels, int(config.get("conditioning_channels", 3))):
        wanted = config["conditioning_channels"]
        raise InputError("controlnet", expected="a ControlNet for pictures of 3 channels", got=f"one for {wanted}")
    if latents is None:
        return
    rows = latents.samples.shape[0]
    if batch not in (None, 1) and not unet_inputs.same(batch, rows):
        raise InputError(
            "image", expected=f"one picture, or one for each of the {rows} latents", got=str(batch),
            fix="make as many latents (`batch_size`) as there are pictures",
        )  # fmt: skip
    scale = latents.space.downsampling
    wanted = [None if side is None else side * scale for side in latents.samples.shape[2:]]
    if not all(unet_inputs.same(ours, theirs) for ours, theirs in zip(sides, wanted, strict=True)):
        raise InputError(
            "image", expected=f"a picture of {wanted[1]} x {wanted[0]} pixels, as the one to be made",
            got=f"{sides[1]} x {sides[0]}", fix=f"`resize_image` makes {wanted[1]} x {wanted[0]}",
        )  # fmt: skip


def _check_conditioning(
    controlnet: ControlNetModel, config: Config, latents: Latents | None, conditioning: Conditioning
) -> None:
    width = unet_inputs.context_width(config)
    if conditioning.context is not None and not unet_inputs.same(tuple(conditioning.context.shape)[-1], width):
        raise InputError(
            "controlnet", expected=f"a ControlNet for a context of width {conditioning.context.shape[-1]}",
            got=f"one for {width}", fix=OTHER_FAMILY,
        )  # fmt: skip
    if unet_inputs.takes_text_time(config) != (conditioning.time_ids is not None):
        kinds = ("a ControlNet for models without pooled text and sizes", "one for SDXL")
        expected, got = kinds if unet_inputs.takes_text_time(config) else kinds[::-1]
        raise InputError("controlnet", expected=expected, got=got, fix=OTHER_FAMILY)
    unet_inputs.check(controlnet, latents, readable(conditioning))  # type: ignore[arg-type]  # alike in these settings
    given, wanted = conditioning.residuals, unet_inputs.residual_count(config) + 1
    if given is not None and len(given) != wanted:
        raise InputError(
            "controlnet", expected=f"a ControlNet of {len(given)} residuals, as the one before", got=f"one of {wanted}",
            fix="both ControlNets must fit the same UNet",
        )  # fmt: skip


# --- T2I-Adapter -------------------------------------------------------------------------------------------------


def picture(adapter: AdapterModel, image: Image) -> torch.Tensor:
    """The pixels as the adapter takes them: the brightest colour of each for one with one channel (sketches)."""
    if int(_adapter(adapter).get("in_channels", 3)) == 1:
        grey: torch.Tensor = image.pixels.amax(dim=1, keepdim=True)
        return grey
    return image.pixels


def feature_shapes(adapter: AdapterModel, image: Image) -> list[tuple[int, int | None, int | None]]:
    """Channels, height and width of each feature that an adapter gives of a picture.

    Raises:
        InputError: the adapter cannot divide the picture's sides.
    """
    config = _adapter(adapter)
    first = int(config.get("downscale_factor", 8))
    height, width = image.pixels.shape[2:]
    if any(side is not None and (side < first or side % first) for side in (height, width)):
        near = [None if side is None else max(first, side // first * first) for side in (width, height)]
        raise InputError(
            "image", expected=f"a width and height that are multiples of {first}", got=f"{width} x {height} pixels",
            fix=f"`resize_image` makes {near[0]} x {near[1]}",
        )  # fmt: skip
    sides = [_divided(side, first) for side in (height, width)]
    found: list[tuple[int, int | None, int | None]] = []
    for channels, halves in _levels(config):
        sides = [_divided(side, 2) for side in sides] if halves else sides
        found.append((channels, sides[0], sides[1]))
    return found


def _levels(config: Config) -> list[tuple[int, bool]]:
    """Channels of each feature, and whether its sides are half of those of the one before (diffusers' `adapter.py`)."""
    kind, channels = config.get("adapter_type"), [int(number) for number in config["channels"]]
    if kind == "light_adapter":
        channels.append(channels[-1])
    halves = [level == 2 for level in range(len(channels))] if kind == "full_adapter_xl" else None
    return list(zip(channels, halves or [level > 0 for level in range(len(channels))], strict=True))


def _divided(side: int | None, by: int) -> int | None:
    return None if side is None else -(-side // by)


def _adapter(adapter: AdapterModel) -> Config:
    config = config_of(adapter, "adapter", "a T2I-Adapter")
    if int(config.get("in_channels", 3)) not in (1, 3):
        raise InputError(
            "adapter", expected="a T2I-Adapter for pictures of 1 or 3 channels", got=f"one for {config['in_channels']}"
        )
    return {"channels": (320, 640, 1280, 1280), **config}
