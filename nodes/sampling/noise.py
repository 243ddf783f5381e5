"""Randomness of images: one generator per image, as a value; and the noise that they draw.

Generators run on the CPU whatever the device, so that a seed means the same picture everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.types import Generators, Latents, LatentSpace

if TYPE_CHECKING:
    import torch

SEEDS = 2**64
"""Seeds are integers modulo this (what `torch.Generator.manual_seed` takes)."""

STATE_BYTES = 5056
"""Size of the state of a CPU generator (Mersenne Twister)."""

Pixels = Annotated[int, Field(ge=0, le=16384)]


class Noise(NamedTuple):
    noise: Latents
    generators: Generators


def torch_generators(generators: Generators) -> list[torch.Generator]:
    """The generators as torch objects on the CPU, each in the state that the value says."""
    import torch

    opened = [torch.Generator("cpu") for _ in generators.seeds]
    for index, generator in enumerate(opened):
        if generators.states is None:
            generator.manual_seed(generators.seeds[index])
        else:
            # A copy: torch 2.13 reads a row of a larger tensor at the wrong address, and crashes.
            generator.set_state(generators.states[index].cpu().clone())
    return opened


def after_draws(generators: Generators, opened: Sequence[torch.Generator]) -> Generators:
    """The value of generators after something was drawn from them (`opened`: those of `torch_generators`)."""
    import torch

    return Generators(generators.seeds, torch.stack([generator.get_state() for generator in opened]))


def _image_seeds(seed: int, batch_size: int) -> tuple[int, ...]:
    return tuple((seed + image) % SEEDS for image in range(batch_size))


def _infer_generators(seed: int, batch_size: int) -> Generators:
    return Generators(_image_seeds(seed, batch_size))


@node(category="noise", infer=_infer_generators)
def seed_generators(
    seed: Annotated[int, Field(ge=0, lt=SEEDS)], batch_size: Annotated[int, Field(ge=1, le=1024)] = 1
) -> Generators:
    """One random generator per image: image k of the batch has the seed `seed + k`.

    So image k of a batch is the image that is made alone from `seed + k`.

    Args:
        seed: 0 .. 2**64 - 1 (beyond the last one the seeds begin again at 0).
        batch_size: The number of images.
    """
    return Generators(_image_seeds(seed, batch_size))


def _latent_size(space: LatentSpace, pixels: int, port: str) -> int:
    """Latents along one side; 0 pixels: what the model was trained for."""
    if pixels == 0:
        return space.sample_size
    if pixels % space.downsampling:
        low = pixels // space.downsampling * space.downsampling
        near = " or ".join(str(size) for size in (low, low + space.downsampling) if size)
        raise InputError(port, expected=f"a multiple of {space.downsampling}", got=str(pixels), fix=f"write {near}")
    return pixels // space.downsampling


def _infer_noise(
    space: LatentSpace, generators: Generators, width: int | None = None, height: int | None = None
) -> Noise:
    sides = [
        None if pixels is None else _latent_size(space, pixels, port)
        for port, pixels in (("height", height), ("width", width))
    ]
    batch = len(generators)
    latents = Latents(TensorSpec((batch, space.channels, *sides)), space)  # type: ignore[arg-type]
    states = TensorSpec((batch, STATE_BYTES), "uint8")
    return Noise(latents, Generators(generators.seeds, states))  # type: ignore[arg-type]


@node(category="noise", infer=_infer_noise)
def init_noise(space: LatentSpace, generators: Generators, width: Pixels = 0, height: Pixels = 0) -> Noise:
    """Standard normal noise in the shape of latents; row k is drawn from the generator of image k.

    `prepare_latents` scales it to what the scheduler starts from.

    Args:
        width, height: Of the picture in pixels, multiples of the model's downsampling; 0: the size that the model was
            trained for.

    Returns:
        The noise, (batch, channels, height / downsampling, width / downsampling), N(0, 1), and the generators after
        the draws.

    Raises:
        InputError: a size that is not a multiple of the downsampling.
    """
    import torch

    shape = (1, space.channels, _latent_size(space, height, "height"), _latent_size(space, width, "width"))
    surroundings = runtime()
    dtype: torch.dtype = getattr(torch, surroundings.dtype)
    opened = torch_generators(generators)
    rows = [torch.randn(shape, generator=generator, dtype=dtype) for generator in opened]
    noise = torch.cat(rows).to(surroundings.device)
    return Noise(Latents(noise, space), after_draws(generators, opened))
