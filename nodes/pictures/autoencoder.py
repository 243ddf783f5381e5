"""What an autoencoder says of itself, and the calls of its two halves, for every class that the nodes can run.

Values here are in [-1, 1] on the side of the pixels, and scaled as the UNet wants them on the side of the latents.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphcore import InputError, note
from nodes.models import families
from nodes.models.handles import settings
from nodes.models.part import Part
from nodes.types import LatentSpace, VaeModel

if TYPE_CHECKING:
    import torch

PIXEL_SPACE = "PixelSpace"
"""Class of the handle of a model that works on pixels: nothing is encoded, values only change their range."""

TINY = "AutoencoderTiny"
"""It takes and gives scaled latents, whatever the scaling factor of the model that it stands in for."""


def space(vae: VaeModel) -> LatentSpace:
    """The latent space of an autoencoder; the size is that of the pictures it was trained with."""
    if vae.class_name == PIXEL_SPACE:
        return LatentSpace(3, 1, 1.0, 32)
    config = settings(vae.config)
    part = Part(vae.source, vae.class_name, config)
    scale = families.downsampling(part)
    return LatentSpace(
        families.latent_channels(part), scale, families.scaling_factor(part),
        int(config.get("sample_size") or 512) // scale, float(config.get("shift_factor") or 0.0),
    )  # fmt: skip


def precision(vae: VaeModel) -> str:
    """The floating-point type that it runs in: float32 where it overflows in float16, and says so."""
    return "float32" if vae.dtype == "float16" and settings(vae.config).get("force_upcast") else vae.dtype


def encode(
    vae: VaeModel, pixels: torch.Tensor, generators: Sequence[torch.Generator] | None, count: int, *,
    tiled: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Scaled latents of pixels, one picture at a time, as the pipelines encode with a list of generators.

    Args:
        pixels: (pictures, 3, height, width) in [-1, 1]; one picture serves all images.
        generators: One per image, for a sample of the posterior; None for its mean.
        count: Images to make.
        tiled: In overlapping tiles, for pictures that do not fit into memory.

    Returns:
        (count, channels, height, width) of the handle's dtype, on its device.
    """
    import torch

    from nodes.models.memory import weights

    dtype, own = weights.torch_dtype(precision(vae)), space(vae)
    # The layout in which pictures from files reach the VAE in diffusers; another one moves the last bits.
    pixels = pixels.to(vae.device, dtype, memory_format=torch.channels_last)
    rows = [pixels[min(k, len(pixels) - 1) :][:1] for k in range(count)]
    if vae.class_name == PIXEL_SPACE:
        return torch.cat(rows).contiguous()
    with weights.use(vae, precision(vae)) as module, torch.no_grad():
        part = _tiled(vae, module) if tiled else module
        opened = [None] * count if generators is None else generators
        drawn = [_latents(part.encode(row), one) for row, one in zip(rows, opened, strict=True)]
        samples = torch.cat(drawn)
        if vae.class_name != TINY:
            samples = own.scaling_factor * (samples - own.shift_factor if own.shift_factor else samples)
        return samples.to(weights.torch_dtype(vae.dtype))


def decode(vae: VaeModel, samples: torch.Tensor, *, tiled: bool = False) -> torch.Tensor:
    """Pixels of scaled latents: float32 in [0, 1], (batch, 3, height, width)."""
    import torch

    from nodes.models.memory import weights

    own = space(vae)
    samples = samples.to(vae.device, weights.torch_dtype(precision(vae)))
    if vae.class_name == PIXEL_SPACE:
        return (samples * 0.5 + 0.5).clamp(0, 1).float()
    if vae.class_name != TINY:
        samples = samples / own.scaling_factor
        samples = samples + own.shift_factor if own.shift_factor else samples
    with weights.use(vae, precision(vae)) as module, torch.no_grad():
        pixels = decode_rows(module, samples, lambda: _tiled(vae, module), tiled=tiled)
        return (pixels * 0.5 + 0.5).clamp(0, 1).float()


def decode_rows(
    module: Any, samples: torch.Tensor, make_tiled: Callable[[], Any], *, tiled: bool = False
) -> torch.Tensor:
    """All images at once; one by one where memory is short; in tiles where it is short for one.

    Args:
        module: Its `decode` gives values around [-1, 1].
        make_tiled: Gives a module that decodes in tiles.
    """
    import torch

    if tiled:
        return _rows(make_tiled(), samples)
    try:
        return _whole(module, samples)
    except torch.OutOfMemoryError:
        if len(samples) > 1:
            return torch.cat([decode_rows(module, row[None], make_tiled) for row in samples])
    # Outside of the handler: an exception that is being handled keeps the memory of its frames.
    part = make_tiled()
    note("memory is short: the picture is decoded in overlapping tiles, which may shift its colours a little")
    return _rows(part, samples)


def _whole(module: Any, samples: torch.Tensor) -> torch.Tensor:
    pixels: torch.Tensor = module.decode(samples, return_dict=False)[0]
    return pixels


def _rows(module: Any, samples: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([_whole(module, row[None]) for row in samples])


def _latents(encoded: Any, generator: torch.Generator | None) -> torch.Tensor:
    """A sample or the mean of a posterior; what has no posterior (VQModel, AutoencoderTiny) draws nothing."""
    if not hasattr(encoded, "latent_dist"):
        latents: torch.Tensor = encoded.latents
        return latents
    posterior = encoded.latent_dist
    return posterior.mode() if generator is None else posterior.sample(generator)  # type: ignore[no-any-return]


def _tiled(vae: VaeModel, module: Any) -> Any:
    """A module that works in overlapping tiles. The borrowed one stays as it is: the copy shares its weights.

    Raises:
        InputError: diffusers has no tiles for this class.
    """
    if not hasattr(module, "use_tiling"):
        raise InputError(
            "tiled", expected="an autoencoder that can work in tiles (AutoencoderKL, AutoencoderTiny)",
            got=vae.class_name, fix="make a smaller picture",
        )  # fmt: skip
    part = copy.copy(module)
    part.use_tiling = True
    return part
