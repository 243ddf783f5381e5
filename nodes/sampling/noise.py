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

    pretended = runtime().pretended is not None  # in a deep check, states have no content
    opened = [torch.Generator("cpu") for _ in generators.seeds]
    for index, generator in enumerate(opened):
        if generators.states is None or pretended:
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


def _infer_interpolated(first: Latents | None = None, second: Latents | None = None) -> Latents | None:
    if first is None or second is None:
        return second
    _same_noise(first, second)
    return second


@node(category="noise", infer=_infer_interpolated)
def interpolate_noise(first: Latents, second: Latents, amount: Annotated[float, Field(ge=0, le=1)] = 0.5) -> Latents:
    """Noise between two noises: pictures made from it lie between those of the two seeds.

    Spherical interpolation, for each image by itself: sin((1 - t) a) / sin(a) first + sin(t a) / sin(a) second, with
    t = `amount` and a the angle between them; so it is as long as noise must be (a straight line would pass through
    shorter ones). Source: Shoemake 1985; DDIM (arXiv:2010.02502, appendix D.5).

    Args:
        first: Standard normal noise, (batch, channels, height, width), or of one image for all.
        second: Of the same size.
        amount: 0 is the first, 1 the second, exactly; about 0.1 makes variations of the first.

    Raises:
        InputError: sizes or batches differ.
    """
    _same_noise(first, second)
    one = first.samples.to(second.samples.device).expand_as(second.samples)
    if amount in (0, 1):
        return Latents(second.samples if amount else one.contiguous(), second.space)
    return Latents(_slerp(one, second.samples, amount), second.space)


def _slerp(one: torch.Tensor, other: torch.Tensor, amount: float) -> torch.Tensor:
    """Spherical interpolation of the rows of a batch; straight where two point the same way."""
    import torch

    a, b = (tensor.flatten(1).double() for tensor in (one, other))
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    angle = torch.arccos(cosine.clamp(-1, 1))[:, None]
    straight = torch.sin(angle) < 1e-6
    safe = torch.where(straight, torch.ones_like(angle), angle)
    left = torch.where(straight, torch.full_like(angle, 1 - amount), torch.sin((1 - amount) * safe) / torch.sin(safe))
    right = torch.where(straight, torch.full_like(angle, amount), torch.sin(amount * safe) / torch.sin(safe))
    return (left * a + right * b).to(other.dtype).reshape(other.shape)


def _same_noise(first: Latents, second: Latents) -> None:
    ours, theirs = tuple(first.samples.shape), tuple(second.samples.shape)
    same = all(a is None or b is None or a == b for a, b in zip(ours[1:], theirs[1:], strict=True))
    if not same or ours[0] not in (None, 1, theirs[0]):
        raise InputError(
            "first", expected=f"noise of shape {TensorSpec(theirs)}, as `second`, or of one image",
            got=str(TensorSpec(ours)), fix="make both with the same size",
        )  # fmt: skip
