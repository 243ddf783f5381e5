"""From a picture to its embedding: `encode_image_embedding` for IP-Adapters, `image_vector` for unCLIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.models.adapters import ip_adapter
from nodes.models.adapters.ip_adapter import Projection
from nodes.models.handles import config_of
from nodes.types import Conditioning, Generators, Image, ImageEncoderModel, UNetModel

if TYPE_CHECKING:
    import torch


def infer_embedding(
    unet: UNetModel | None = None,
    image_encoder: ImageEncoderModel | None = None,
    image: Image | None = None,
    conditioning: Conditioning | None = None,
    unconditional: bool = False,
) -> Conditioning | None:
    """The conditioning with one embedding more; refuses an image encoder of another width than the adapter's."""
    if unet is None or conditioning is None:
        return None
    projection = _next(unet, conditioning)
    if image_encoder is None:
        return None
    config = config_of(image_encoder, "image_encoder", "an image encoder")
    _check_encoder(config, projection)
    pictures = None if image is None else image.pixels.shape[0]
    tokens = () if projection.takes == "embedding" else (_tokens(config),)
    spec: Any = TensorSpec((1, pictures, *tokens, projection.width), image_encoder.dtype)
    return _appended(conditioning, spec)


@node(category="conditioning", infer=infer_embedding)
def encode_image_embedding(
    unet: UNetModel,
    image_encoder: ImageEncoderModel,
    image: Image,
    conditioning: Conditioning,
    unconditional: bool = False,
) -> Conditioning:
    """Add what an IP-Adapter takes of a picture to a conditioning; the UNet's adapters are served in order.

    The picture is resized, cut to its middle square and normalised as CLIP wants it.

    Args:
        unet: From `load_ip_adapter`; tells what its adapter takes.
        image_encoder: The one that the adapter was trained with, from `load_image_encoder`.
        image: Several pictures are all attended to.
        conditioning: From `encode_text`. For a second adapter, with the embedding for the first.
        unconditional: Add what stands for no picture (zeros, or the states of a black one): for the conditioning on
            what the picture is not to show.

    Returns:
        The conditioning with one more of `image_embeds`: (1, pictures, width) or (1, pictures, tokens, width).

    Raises:
        InputError: the UNet has no adapter left to serve, or the image encoder is of another width.
    """
    import torch

    from nodes.models.memory import weights

    projection = _next(unet, conditioning)
    config = config_of(image_encoder, "image_encoder", "an image encoder")
    _check_encoder(config, projection)
    pixels = _pixels(image, config, image_encoder)
    with weights.use(image_encoder) as module, torch.no_grad():
        if projection.takes == "embedding":
            embedded = module(pixels).image_embeds
            embedded = torch.zeros_like(embedded) if unconditional else embedded
        else:
            pixels = torch.zeros_like(pixels) if unconditional else pixels
            embedded = module(pixels, output_hidden_states=True).hidden_states[-2]
    return _appended(conditioning, embedded[None])


class Embedded(NamedTuple):
    """A conditioning with a picture's embedding, and the generators after their draws."""

    conditioning: Conditioning
    generators: Generators


NoiseLevel = Annotated[int, Field(ge=0, lt=1000)]


def infer_vector(
    image_encoder: ImageEncoderModel | None = None,
    image: Image | None = None,
    conditioning: Conditioning | None = None,
    generators: Generators | None = None,
    noise_level: int | None = None,
) -> Embedded | None:
    """The conditioning with a vector: as wide as the embedding, or twice with a noise level."""
    if image_encoder is None:
        return None
    width = int(config_of(image_encoder, "image_encoder", "an image encoder")["projection_dim"])
    if image is None or conditioning is None or generators is None:
        return None
    rows = image.pixels.shape[0] if noise_level is None else len(generators)
    vector: Any = TensorSpec((rows, width if noise_level is None else 2 * width), image_encoder.dtype)
    return Embedded(replace(conditioning, vector=vector), generators)


@node(category="conditioning", infer=infer_vector)
def image_vector(
    image_encoder: ImageEncoderModel,
    image: Image,
    conditioning: Conditioning,
    generators: Generators,
    noise_level: NoiseLevel | None = None,
) -> Embedded:
    """A picture's CLIP embedding as `vector`, for UNets that were trained on it (unCLIP, arXiv:2204.06125).

    With a noise level, the embedding is noised by a cosine schedule of 1000 steps, and the level is added as a
    sinusoidal embedding, as in Stable unCLIP; its mean and deviation over a data set are taken to be 0 and 1.

    Args:
        image_encoder: The one that the UNet was trained with.
        image: One picture, or one for each generator.
        conditioning: Its context stays.
        generators: One for each image to make; draw from them only where there is a noise level.
        noise_level: 0 .. 999, the higher the freer; none adds no noise and no level.

    Returns:
        `vector` (pictures, width), or (images, 2 width) with a noise level; and the generators after the draws.
    """
    import torch

    from nodes.models.memory import weights
    from nodes.sampling import noise

    config = config_of(image_encoder, "image_encoder", "an image encoder")
    with weights.use(image_encoder) as module, torch.no_grad():
        embedded = module(_pixels(image, config, image_encoder)).image_embeds
    if noise_level is None:
        return Embedded(replace(conditioning, vector=embedded), generators)
    opened = noise.torch_generators(generators)
    drawn = [torch.randn((1, embedded.shape[1]), generator=one, dtype=embedded.dtype) for one in opened]
    embedded = embedded.expand(len(opened), -1)
    vector = _noised(embedded, torch.cat(drawn).to(embedded.device), noise_level)
    return Embedded(replace(conditioning, vector=vector), noise.after_draws(generators, opened))


def _noised(embedded: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
    """Stable unCLIP's `noise_image_embeddings` without a normaliser."""
    import torch
    from diffusers import DDPMScheduler
    from diffusers.models.embeddings import get_timestep_embedding

    levels = torch.tensor([level] * len(embedded), device=embedded.device)
    noised = DDPMScheduler(beta_schedule="squaredcos_cap_v2").add_noise(embedded, noise, levels)
    said = get_timestep_embedding(levels, embedded.shape[-1], flip_sin_to_cos=True, downscale_freq_shift=0)
    return torch.cat((noised, said.to(noised.dtype)), dim=1)


def _pixels(image: Image, config: Mapping[str, Any], encoder: ImageEncoderModel) -> torch.Tensor:
    """Pictures as CLIP wants them: (pictures, 3, size, size), normalised."""
    import torch

    from nodes.models.memory import weights
    from nodes.pictures import pixels

    size = int(config.get("image_size", 224))
    dtype = weights.torch_dtype(encoder.dtype)
    if runtime().pretended is not None:
        return torch.zeros((len(image), 3, size, size), dtype=dtype, device=encoder.device)
    from transformers import CLIPImageProcessorPil

    prepare = CLIPImageProcessorPil(size=size, crop_size=size)
    values: torch.Tensor = prepare(pixels.to_pictures(image.pixels), return_tensors="pt").pixel_values
    return values.to(device=encoder.device, dtype=dtype)


def _next(unet: UNetModel, conditioning: Conditioning) -> Projection:
    """What the first adapter takes for which the conditioning has no picture yet."""
    config_of(unet, "unet", "a UNet")
    adapters, served = ip_adapter.wanted(unet), len(conditioning.image_embeds or ())
    if conditioning.regions:
        raise InputError(
            "conditioning", expected="a conditioning without regions", got=f"one with {len(conditioning.regions)}",
            fix="embed the picture first, then put the conditionings together",
        )  # fmt: skip
    if served >= len(adapters):
        raise InputError(
            "unet", expected=f"a UNet with more than {served} IP-Adapters", got=str(len(adapters)),
            fix="`load_ip_adapter` makes one of a model's UNet; a conditioning takes one picture for each adapter",
        )  # fmt: skip
    return adapters[served]


def _check_encoder(config: Mapping[str, Any], projection: Projection) -> None:
    key = "projection_dim" if projection.takes == "embedding" else "hidden_size"
    if int(config[key]) != projection.width:
        raise InputError(
            "image_encoder", expected=f"an image encoder with `{key}` {projection.width}, as the IP-Adapter takes",
            got=str(config[key]), fix="use the image encoder that is published with the adapter",
        )  # fmt: skip


def _tokens(config: Mapping[str, Any]) -> int:
    """Patches of a picture, and the class token."""
    return (int(config.get("image_size", 224)) // int(config.get("patch_size", 32))) ** 2 + 1


def _appended(conditioning: Conditioning, embedded: Any) -> Conditioning:
    return replace(conditioning, image_embeds=(*(conditioning.image_embeds or ()), embedded))
