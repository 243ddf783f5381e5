"""Inpainting models: a mask and the picture without its masked part as further input channels (LDM's `concat`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from graphcore import InputError, TensorSpec, node
from nodes.models.handles import config_of
from nodes.pictures.masks import at_size, check_size
from nodes.sampling.schedule import Share
from nodes.types import Conditioning, Generators, Image, Mask, UNetModel, VaeModel

if TYPE_CHECKING:
    pass


class InpaintMode(NamedTuple):
    """How a model repaints a part of a picture; each is the case that a `switch` chooses by.

    Args:
        kind: `concat` for a UNet that is given mask and masked picture, `blend` for any other.
        start: What denoising starts from: `noise`, or the noised `picture`.
        first_draw: Whether the `picture` is encoded before the `noise` is drawn, or only noise is.
    """

    kind: str
    start: str
    first_draw: str


class MaskedImage(NamedTuple):
    """Channels for the UNet, and the generators after their draws."""

    concat: Conditioning
    generators: Generators


def _infer_mode(unet: UNetModel | None = None, strength: float | None = None) -> InpaintMode | None:
    if unet is not None:
        kind = _kind(unet)
    return None if unet is None or strength is None else _mode(kind, strength)


@node(category="conditioning", infer=_infer_mode)
def inpaint_mode(unet: UNetModel, strength: Share = 1.0) -> InpaintMode:
    """Which way of inpainting a UNet takes, and what it starts from: as `StableDiffusionInpaintPipeline` decides.

    A UNet with 2 c + 1 input channels for c output channels (9 for 4) was trained for inpainting: `concat`. One with
    c is not told of the mask: after each step, what is to be kept is put back (`blend_latents`).

    Args:
        strength: 1 starts from pure noise; less from the picture, noised.

    Raises:
        InputError: the UNet has another number of input channels.
    """
    return _mode(_kind(unet), strength)


def _kind(unet: UNetModel) -> str:
    config = config_of(unet, "unet", "a UNet")
    given, made = int(config.get("in_channels") or 4), int(config.get("out_channels") or 4)
    if given == 2 * made + 1:
        return "concat"
    if given in (made, made // 2):
        return "blend"
    raise InputError(
        "unet", expected=f"a UNet with {made} or {2 * made + 1} input channels", got=f"one with {given}",
        fix="use a text-to-image or an inpainting model",
    )  # fmt: skip


def _mode(kind: str, strength: float) -> InpaintMode:
    start = "noise" if strength >= 1 else "picture"
    return InpaintMode(kind, start, "picture" if kind == "blend" else start)


def _infer_masked(
    vae: VaeModel | None = None, image: Image | None = None, mask: Mask | None = None,
    generators: Generators | None = None,
) -> MaskedImage | None:  # fmt: skip
    if image is not None and mask is not None:
        check_size(mask, image)
    if vae is None or image is None:
        return None
    from nodes.pictures import vae as vaes

    vaes.check_image(vae, image, generators)
    latents = vaes.latents_spec(vae, image, generators)
    batch, channels, height, width = latents.shape
    concat: Any = TensorSpec((batch, None if channels is None else channels + 1, height, width), vae.dtype)
    after: Any = generators
    return MaskedImage(Conditioning(concat=concat), after)


@node(category="conditioning", infer=_infer_masked)
def encode_masked_image(vae: VaeModel, image: Image, mask: Mask, generators: Generators) -> MaskedImage:
    """The mask at the size of the latents, and the latents of the picture whose masked part is grey.

    `add_concat` gives them to a conditioning. Each image draws its sample of the posterior from its own generator:
    in the pipelines of diffusers, after the noise that it starts from.

    Args:
        vae: From `load_model`.
        image: Height and width must be multiples of the VAE's downsampling; one picture serves all images.
        mask: Of the picture's size; at least 0.5 is to be repainted, as these models were trained with hard masks.
        generators: One per image.

    Returns:
        `concat`: (images, 1 + channels, height / downsampling, width / downsampling), the mask first.

    Raises:
        InputError: the mask has another size, or the picture's size does not fit.

    Source: Rombach et al. 2022 (arXiv:2112.10752), sec. 4.5; `StableDiffusionInpaintPipeline.prepare_mask_latents`.
    """
    import torch

    from nodes.pictures import autoencoder
    from nodes.pictures import vae as vaes
    from nodes.sampling import noise

    check_size(mask, image)
    vaes.check_image(vae, image, generators)
    hard = (mask.values >= 0.5).to(image.pixels)
    opened = noise.torch_generators(generators)
    pixels = (2.0 * image.pixels - 1.0) * (hard < 0.5)
    latents = autoencoder.encode(vae, pixels, opened, len(opened))
    small = at_size(hard, latents).expand(len(latents), -1, -1, -1)
    concat = torch.cat([small.to(latents), latents], dim=1)
    return MaskedImage(Conditioning(concat=concat), noise.after_draws(generators, opened))


def _infer_concat(conditioning: Conditioning | None = None, concat: Conditioning | None = None) -> Conditioning | None:
    if concat is not None:
        _channels(concat)
    return None if conditioning is None or concat is None else _added(conditioning, concat)


@node(category="conditioning", infer=_infer_concat)
def add_concat(conditioning: Conditioning, concat: Conditioning) -> Conditioning:
    """Give a conditioning the `concat` channels of another one, after those that it has already.

    Args:
        conditioning: Of text, say; one with regions gets them in each.
        concat: From `encode_masked_image` or another encoder node; only its `concat` is used.

    Raises:
        InputError: `concat` has no such channels, or of another size than those that are there.
    """
    _channels(concat)
    return _added(conditioning, concat)


def _channels(concat: Conditioning) -> Any:
    if concat.concat is None:
        raise InputError(
            "concat", expected="a conditioning with `concat` channels", got="one without",
            fix="`encode_masked_image` makes one of a picture and a mask",
        )  # fmt: skip
    return concat.concat


def _added(conditioning: Conditioning, concat: Conditioning) -> Conditioning:
    if conditioning.regions:
        parts = [replace(part, conditioning=_added(part.conditioning, concat)) for part in conditioning.regions]
        return replace(conditioning, regions=tuple(parts))
    there, more = conditioning.concat, _channels(concat)
    return replace(conditioning, concat=more if there is None else _joined(there, more))


def _joined(there: Any, more: Any) -> Any:
    ours, theirs = tuple(there.shape), tuple(more.shape)
    if any(a is not None and b is not None and a != b for a, b in zip(ours[2:], theirs[2:], strict=True)):
        raise InputError(
            "concat", expected=f"channels of {ours[3]} x {ours[2]}, as those that are there",
            got=f"{theirs[3]} x {theirs[2]}", fix="make both of pictures of one size",
        )  # fmt: skip
    if isinstance(there, TensorSpec) or isinstance(more, TensorSpec):
        channels = None if ours[1] is None or theirs[1] is None else ours[1] + theirs[1]
        return TensorSpec((theirs[0] if ours[0] == 1 else ours[0], channels, *ours[2:]))
    import torch

    rows = max(len(there), len(more))
    return torch.cat([part.expand(rows, -1, -1, -1) for part in (there, more.to(there))], dim=1)
