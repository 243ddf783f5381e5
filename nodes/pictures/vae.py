"""Between pictures and latents: `vae_decode` and `vae_encode`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from graphcore import InputError, TensorSpec, node
from nodes.models.handles import settings
from nodes.pictures.images import preview
from nodes.types import Generators, Image, Latents, LatentSpace, VaeModel

if TYPE_CHECKING:
    import torch


class Encoded(NamedTuple):
    """Latents of a picture, and the generators after their draws."""

    latents: Latents
    generators: Generators


def infer_decode(vae: VaeModel | None = None, latents: Latents | None = None) -> Image | None:
    """Shape of the pictures; refuses latents of another space than the VAE's."""
    if vae is None or latents is None:
        return None
    _check_latents(vae, latents)
    batch, _, height, width = latents.samples.shape
    scale = _downsampling(settings(vae.config))
    sides = (None if size is None else size * scale for size in (height, width))
    pixels: Any = TensorSpec((batch, 3, *sides))
    return Image(pixels)


@node(category="image", infer=infer_decode, preview=preview)
def vae_decode(vae: VaeModel, latents: Latents) -> Image:
    """The pictures that latents stand for, values in [0, 1].

    In half precision, a VAE whose configuration says `force_upcast` (SDXL's overflows) runs in float32.

    Args:
        vae: From `load_model`.
        latents: (batch, channels, height, width), scaled as the UNet wants them.

    Raises:
        InputError: the latents are those of another model.
    """
    import torch

    from nodes.models import weights

    _check_latents(vae, latents)
    config, space = settings(vae.config), latents.space
    with weights.use(vae, _precision(vae)) as module, torch.no_grad():
        samples = latents.samples.to(vae.device, weights.torch_dtype(_precision(vae))) / _scaling_factor(config)
        if space.shift_factor:
            samples = samples + space.shift_factor
        pixels = _decode(module, samples)
        return Image((pixels * 0.5 + 0.5).clamp(0, 1).float())


def infer_encode(
    vae: VaeModel | None = None, image: Image | None = None, generators: Generators | None = None
) -> Encoded | None:
    """Shape of the latents; refuses a picture whose size does not fit."""
    if vae is None or image is None:
        return None
    config = settings(vae.config)
    _check_image(config, image, generators)
    height, width = image.pixels.shape[2:]
    scale, space = _downsampling(config), _space(config)
    sides = (None if size is None else size // scale for size in (height, width))
    samples: Any = TensorSpec((None if generators is None else len(generators), space.channels, *sides), vae.dtype)
    after: Any = generators  # as many as before; None says that nothing is known of them
    return Encoded(Latents(samples, space), after)


@node(category="image", infer=infer_encode)
def vae_encode(vae: VaeModel, image: Image, generators: Generators) -> Encoded:
    """Latents of pictures: a sample of the VAE's posterior, scaled as the UNet wants it.

    Each image draws from its own generator. One picture serves all generators.

    Args:
        vae: From `load_model`.
        image: Height and width must be multiples of the VAE's downsampling.
        generators: From `seed_generators`; one per image to make.

    Raises:
        InputError: the picture's size does not fit, or there are more pictures than generators.
    """
    import torch

    from nodes.models import weights
    from nodes.sampling import noise

    config = settings(vae.config)
    _check_image(config, image, generators)
    space, opened = _space(config), noise.torch_generators(generators)
    with weights.use(vae, _precision(vae)) as module, torch.no_grad():
        # The layout in which pictures from files reach the VAE in diffusers; another one moves the last bits.
        layout = torch.channels_last
        pixels = (2.0 * image.pixels - 1.0).to(vae.device, weights.torch_dtype(_precision(vae)), memory_format=layout)
        rows = [pixels[min(k, len(pixels) - 1) :][:1] for k in range(len(opened))]
        drawn = [module.encode(row).latent_dist.sample(one) for row, one in zip(rows, opened, strict=True)]
        samples = torch.cat(drawn)
        if space.shift_factor:
            samples = samples - space.shift_factor
        samples = (space.scaling_factor * samples).to(weights.torch_dtype(vae.dtype))
    return Encoded(Latents(samples, space), noise.after_draws(generators, opened))


def _decode(module: Any, samples: torch.Tensor) -> torch.Tensor:
    """All images at once, one by one where memory is short; values around [-1, 1]."""
    import torch

    try:
        pixels: torch.Tensor = module.decode(samples, return_dict=False)[0]
        return pixels
    except torch.OutOfMemoryError:
        if len(samples) == 1:
            raise
    return torch.cat([module.decode(sample[None], return_dict=False)[0] for sample in samples])


def _precision(vae: VaeModel) -> str:
    """float32 for a VAE that overflows in float16, and says so."""
    return "float32" if vae.dtype == "float16" and settings(vae.config).get("force_upcast") else vae.dtype


def _scaling_factor(config: Mapping[str, Any]) -> float:
    return float(config.get("scaling_factor", 0.18215))


def _downsampling(config: Mapping[str, Any]) -> int:
    return int(2 ** (len(config.get("block_out_channels", (64,))) - 1))


def _space(config: Mapping[str, Any]) -> LatentSpace:
    """The latent space of a VAE; the size is that of the pictures it was trained with."""
    scale = _downsampling(config)
    return LatentSpace(
        int(config.get("latent_channels", 4)), scale, _scaling_factor(config),
        int(config.get("sample_size", 512)) // scale, float(config.get("shift_factor") or 0.0),
    )  # fmt: skip


def _check_latents(vae: VaeModel, latents: Latents) -> None:
    wanted, space = _space(settings(vae.config)), latents.space
    shape = tuple(latents.samples.shape)
    if len(shape) != 4 or shape[1] not in (None, wanted.channels):
        raise InputError(
            "latents", expected=f"latents (batch, {wanted.channels}, height, width)", got=str(TensorSpec(shape)),
            fix="`vae` and `latents` must come from one model",
        )  # fmt: skip
    for name in ("channels", "downsampling", "scaling_factor", "shift_factor"):
        if getattr(space, name) != getattr(wanted, name):
            raise InputError(
                "latents", expected=f"latents of a space with {name} {getattr(wanted, name)}, as the VAE's",
                got=f"{name} {getattr(space, name)}", fix="`vae` and `latents` must come from one model",
            )  # fmt: skip


def _check_image(config: Mapping[str, Any], image: Image, generators: Generators | None) -> None:
    scale, shape = _downsampling(config), tuple(image.pixels.shape)
    if len(shape) != 4 or shape[1] not in (None, 3):
        raise InputError("image", expected="a picture (batch, 3, height, width)", got=str(TensorSpec(shape)))
    height, width = shape[2:]
    if any(size is not None and (size < scale or size % scale) for size in (height, width)):
        near = [None if size is None else max(scale, size // scale * scale) for size in (width, height)]
        raise InputError(
            "image", expected=f"a width and height that are multiples of {scale}", got=f"{width} x {height} pixels",
            fix=f"`resize_image` makes {near[0]} x {near[1]}",
        )  # fmt: skip
    if generators is not None and shape[0] not in (None, 1, len(generators)):
        raise InputError(
            "generators", expected=f"as many generators as pictures ({shape[0]})", got=str(len(generators)),
            fix=f"`seed_generators` with `batch_size` {shape[0]}",
        )  # fmt: skip
