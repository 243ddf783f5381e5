"""What a UNet wants to be given, read from its configuration: checked before a run and again in it.

Works on tensors and on `TensorSpec`s alike; sizes that are not known pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore import InputError, TensorSpec
from nodes.models.handles import config_of
from nodes.types import Conditioning, Latents, UNetModel

Config = Mapping[str, Any]

FIELDS = ("context", "context_mask", "concat", "vector", "time_ids")
"""The parts of a conditioning that are one tensor each."""

SEVERAL = ("image_embeds", "residuals", "features")
"""The parts that are several tensors each."""

SIZES_AND_CROPS = 6
"""Numbers in SDXL's time_ids: original height and width, crop top and left, target height and width."""

FEWEST_CONCAT = 3
"""Channels that a condition beside the latents has at least: those of a low-resolution image."""

SAME_MODEL = "encoder and UNet must come from models that were trained together"


def tensors(conditioning: Conditioning) -> dict[str, Any]:
    """The tensors of a conditioning without regions, by name (`residuals[2]`), in a fixed order."""
    found = {name: tensor for name in FIELDS if (tensor := getattr(conditioning, name)) is not None}
    for name in SEVERAL:
        found |= {f"{name}[{index}]": tensor for index, tensor in enumerate(getattr(conditioning, name) or ())}
    return found


def takes_context(unet: UNetModel) -> bool:
    """Whether it attends to a context; the plain UNets of DDPM and of LDM's `concat` models do not."""
    return unet.class_name != "UNet2DModel"


def check(unet: UNetModel, latents: Latents | None, conditioning: Conditioning | None) -> None:
    """Refuse latents or a conditioning that this UNet cannot take.

    Raises:
        InputError: with port, what was expected, what came, and the likely fix.
    """
    config = config_of(unet, "unet", "a UNet")
    for region in conditioning.regions if conditioning is not None else ():
        check(unet, latents, region.conditioning)
    if conditioning is not None and not conditioning.regions:
        _check_plain(unet, config, latents, conditioning)


def _check_plain(unet: UNetModel, config: Config, latents: Latents | None, conditioning: Conditioning) -> None:
    if takes_context(unet):
        _check_context(config, conditioning)
    elif conditioning.context is not None:
        raise InputError(
            "conditioning", expected="a conditioning without context", got=f"one of {_say(conditioning.context.shape)}",
            fix="this UNet has no cross-attention; use a text-to-image model, or another way of conditioning",
        )  # fmt: skip
    _check_vector(config, conditioning)
    _check_residuals(config, conditioning)
    _check_features(config, latents, conditioning)
    _check_image_embeds(config, conditioning)
    if latents is not None:
        _check_channels(config, latents, conditioning)
        _check_batch(latents, conditioning)


def context_width(config: Config) -> int:
    """Width of the cross-attention tokens: what the first projection of the UNet takes."""
    if config.get("encoder_hid_dim_type") == "text_proj" and config.get("encoder_hid_dim"):
        return int(config["encoder_hid_dim"])
    width = config.get("cross_attention_dim", 1280)
    return int(width[0] if isinstance(width, (list, tuple)) else width)


def takes_class(config: Config) -> bool:
    """Whether something is added to the time embedding by class or vector (LDM's `adm`)."""
    return config.get("class_embed_type") is not None or config.get("num_class_embeds") is not None


def takes_text_time(config: Config) -> bool:
    """Whether it is conditioned as SDXL is: pooled text beside sizes and crops."""
    return config.get("addition_embed_type") == "text_time"


def residual_count(config: Config) -> int:
    """Skip connections of the down blocks: one after the first convolution, one per layer and per downsampling."""
    blocks = len(config.get("block_out_channels", (320, 640, 1280, 1280)))
    layers = config.get("layers_per_block", 2)
    each: list[int] = list(layers) if isinstance(layers, (list, tuple)) else [layers] * blocks
    return sum(each, start=blocks)


def residual_shapes(config: Config, height: int | None, width: int | None) -> list[tuple[int, int | None, int | None]]:
    """Channels, height and width of each skip connection of the down blocks, then of the middle block."""
    channels = [int(number) for number in config.get("block_out_channels", (320, 640, 1280, 1280))]
    layers = config.get("layers_per_block", 2)
    each = list(layers) if isinstance(layers, (list, tuple)) else [layers] * len(channels)
    found = [(channels[0], height, width)]
    for level, (number, count) in enumerate(zip(channels, each, strict=True)):
        found += [(number, height, width)] * count
        if level < len(channels) - 1:
            height, width = (None if side is None else (side + 1) // 2 for side in (height, width))
            found.append((number, height, width))
    return [*found, (channels[-1], height, width)]


def feature_shapes(config: Config, height: int | None, width: int | None) -> list[tuple[int, int | None, int | None]]:
    """Channels, height and width of what a T2I-Adapter adds to each down block: before its downsampling where the
    block has cross-attention, else after it.
    """
    channels = [int(number) for number in config.get("block_out_channels", (320, 640, 1280, 1280))]
    kinds = config.get("down_block_types") or ["CrossAttnDownBlock2D"] * (len(channels) - 1) + ["DownBlock2D"]
    found = []
    for level, (number, kind) in enumerate(zip(channels, kinds, strict=True)):
        before, last = (height, width), level == len(channels) - 1
        if not last:
            height, width = (None if side is None else (side + 1) // 2 for side in before)
        found.append((number, *before) if "CrossAttn" in kind else (number, height, width))
    return found


def same(size: int | None, wanted: int | None) -> bool:
    """Whether two sizes may be equal (None is not known)."""
    return size is None or wanted is None or int(size) == int(wanted)


def _check_context(config: Config, conditioning: Conditioning) -> None:
    width = context_width(config)
    if conditioning.context is None:
        raise InputError(
            "conditioning", expected=f"a context of width {width}", got="a conditioning without context",
            fix="`encode_text` makes one",
        )  # fmt: skip
    shape = tuple(conditioning.context.shape)
    if len(shape) != 3 or not same(shape[2], width):
        raise InputError(
            "conditioning", expected=f"a context (batch, tokens, {width})", got=_say(shape), fix=SAME_MODEL
        )
    if conditioning.context_mask is not None and tuple(conditioning.context_mask.shape)[1:] != shape[1:2]:
        raise InputError(
            "conditioning", expected=f"a context mask (batch, {shape[1]}), one number per token",
            got=_say(conditioning.context_mask.shape),
        )  # fmt: skip


def _check_vector(config: Config, conditioning: Conditioning) -> None:
    vector, time_ids = conditioning.vector, conditioning.time_ids
    if takes_text_time(config):
        _check_text_time(config, conditioning)
    elif time_ids is not None:
        raise InputError(
            "conditioning", expected="a conditioning without `time_ids`", got=f"time_ids {_say(time_ids.shape)}",
            fix="only UNets like SDXL's take sizes and crops",
        )  # fmt: skip
    elif takes_class(config) and vector is None:
        raise InputError(
            "conditioning", expected=f"a conditioning with `vector` ({_class_vector(config)})", got="one without",
            fix="this UNet is class-conditional (the class of an x4 upscaler is its noise level); `class_vector` "
            "gives a class as a vector",
        )  # fmt: skip
    elif vector is not None and not takes_class(config):
        raise InputError(
            "conditioning", expected="a conditioning without `vector`", got=f"a vector {_say(vector.shape)}",
            fix="this UNet takes only a context; use an encoder node that gives one",
        )  # fmt: skip
    elif vector is not None and (width := vector_width(config)) and not same(tuple(vector.shape)[-1], width):
        raise InputError("conditioning", expected=f"a vector (batch, {width})", got=_say(vector.shape), fix=SAME_MODEL)


def _check_text_time(config: Config, conditioning: Conditioning) -> None:
    if conditioning.vector is None or conditioning.time_ids is None:
        absent = " and ".join(f"`{n}`" for n in ("vector", "time_ids") if getattr(conditioning, n) is None)
        raise InputError(
            "conditioning", expected="pooled text (`vector`) and sizes and crops (`time_ids`), as SDXL's UNet takes",
            got=f"a conditioning without {absent}",
            fix="`encode_text` with SDXL's text encoders gives the vector, `add_sizes` the numbers",
        )  # fmt: skip
    shape = tuple(conditioning.time_ids.shape)
    if len(shape) != 2:
        raise InputError("conditioning", expected=f"time_ids (batch, {SIZES_AND_CROPS})", got=_say(shape))
    whole = config.get("projection_class_embeddings_input_dim")
    if whole is None or shape[1] is None or len(conditioning.vector.shape) != 2:
        return
    width = int(whole) - shape[1] * int(config.get("addition_time_embed_dim") or 256)
    if not same(tuple(conditioning.vector.shape)[1], width):
        raise InputError(
            "conditioning", expected=f"a vector (batch, {width}) beside {shape[1]} time_ids",
            got=_say(conditioning.vector.shape), fix=f"link this UNet to `add_sizes`, too; {SAME_MODEL}",
        )  # fmt: skip


def vector_width(config: Config) -> int | None:
    """Width of a vector that a class embedding projects; None for class labels."""
    if config.get("class_embed_type") in ("projection", "simple_projection"):
        return int(config["projection_class_embeddings_input_dim"])
    return None


def _class_vector(config: Config) -> str:
    width = vector_width(config)
    return f"(batch, {width})" if width else "class labels, int64 (batch,)"


def _check_residuals(config: Config, conditioning: Conditioning) -> None:
    if conditioning.residuals is None:
        return
    wanted = residual_count(config) + 1
    if len(conditioning.residuals) != wanted:
        raise InputError(
            "conditioning", expected=f"{wanted} residuals ({wanted - 1} skip connections and the middle block)",
            got=str(len(conditioning.residuals)), fix="the control model must fit this UNet",
        )  # fmt: skip
    for residual, (channels, _, _) in zip(conditioning.residuals, residual_shapes(config, None, None), strict=True):
        if not same(tuple(residual.shape)[1], channels):
            raise InputError(
                "conditioning", expected=f"residuals of {channels} channels", got=_say(residual.shape),
                fix="the control model must fit this UNet",
            )  # fmt: skip


def _check_features(config: Config, latents: Latents | None, conditioning: Conditioning) -> None:
    sides = (None, None) if latents is None else tuple(latents.samples.shape)[-2:]
    wanted = feature_shapes(config, *sides)
    given = [tuple(feature.shape)[1:] for feature in conditioning.features or ()]
    for ours, theirs in zip(wanted, given, strict=False):
        if not all(same(a, b) for a, b in zip(ours, theirs, strict=True)):
            raise InputError(
                "conditioning", expected=f"features of shape {', '.join(map(_say, wanted))}, one for each down block",
                got=", ".join(map(_say, given)),
                fix="the T2I-Adapter must fit this UNet, and its picture be as large as the one to be made",
            )  # fmt: skip


def _check_image_embeds(config: Config, conditioning: Conditioning) -> None:
    """One for each IP-Adapter: (batch, pictures, width), or (batch, pictures, tokens, width) for its `states`."""
    adapters, given = config.get("ip_adapters", ()), conditioning.image_embeds or ()
    if len(given) != len(adapters):
        raise InputError(
            "conditioning", expected=f"{len(adapters)} `image_embeds`, as many as the UNet has IP-Adapters",
            got=str(len(given)), fix="`encode_image_embedding` adds one (also to the negative conditioning), "
            "`load_ip_adapter` makes a UNet that takes them",
        )  # fmt: skip
    for embedded, (takes, width, _) in zip(given, adapters, strict=True):
        shape = tuple(embedded.shape)
        wanted = "(batch, pictures, width)" if takes == "embedding" else "(batch, pictures, tokens, width)"
        if len(shape) != wanted.count(",") + 1 or not same(shape[-1], width):
            raise InputError(
                "conditioning", expected=f"`image_embeds` {wanted} of width {width}", got=_say(shape),
                fix="use the image encoder that is published with the adapter",
            )  # fmt: skip


def _check_channels(config: Config, latents: Latents, conditioning: Conditioning) -> None:
    shape, wanted = tuple(latents.samples.shape), int(config.get("in_channels", 4))
    if len(shape) != 4:
        raise InputError("latents", expected=f"latents (batch, {wanted}, height, width)", got=_say(shape))
    if conditioning.concat is None:
        if not same(shape[1], wanted):
            raise InputError(
                "latents", expected=f"latents (batch, {wanted}, height, width)", got=_say(shape),
                fix=_channels_help(wanted - int(shape[1])),
            )  # fmt: skip
        return
    extra = tuple(conditioning.concat.shape)
    if len(extra) != 4 or not all(same(a, b) for a, b in zip(extra[2:], shape[2:], strict=True)):
        raise InputError(
            "conditioning", expected=f"`concat` of the latents' height and width, {_say(shape[2:])}", got=_say(extra)
        )
    if shape[1] is not None and not same(extra[1], wanted - int(shape[1])):
        raise InputError(
            "conditioning", expected=f"`concat` with {wanted - int(shape[1])} channels (the UNet takes {wanted}, the "
            f"latents have {shape[1]})", got=_say(extra), fix="use a UNet that was trained with these channels",
        )  # fmt: skip


def _channels_help(absent: int) -> str:
    if absent >= FEWEST_CONCAT:
        return (
            f"this UNet wants {absent} channels more: a conditioning with `concat` (mask and masked picture for "
            "inpainting, by `encode_masked_image` and `add_concat`; the small picture for super-resolution, the map "
            "for semantic synthesis)"
        )
    return "make the latents with the `latent_space` and the `vae` of this UNet's model"


def _check_batch(latents: Latents, conditioning: Conditioning) -> None:
    batch = latents.samples.shape[0]
    for name, tensor in tensors(conditioning).items():
        if tensor.shape[0] not in (None, 1) and not same(tensor.shape[0], batch):
            raise InputError(
                "conditioning", expected=f"one `{name}` for all {batch} latents, or one for each",
                got=f"{tensor.shape[0]}", fix="make as many latents (`batch_size`) as there are conditionings",
            )  # fmt: skip


def _say(shape: Any) -> str:
    return str(TensorSpec(tuple(shape)))
