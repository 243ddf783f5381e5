"""Inpainting with any model: after each step, what is to be kept is put back into the latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphcore import InputError, TensorSpec, node
from nodes.pictures.preview import latents_thumbnail
from nodes.sampling import schedulers
from nodes.types import Latents, Mask, Solver

if TYPE_CHECKING:
    import torch


def _infer_noised(latents: Latents | None = None, noise: Latents | None = None) -> Latents | None:
    if latents is not None and noise is not None:
        _check_noise(latents, noise)
    return noise


@node(category="sampling", infer=_infer_noised, preview=latents_thumbnail)
def noise_latents(solver: Solver, latents: Latents, noise: Latents) -> Latents:
    """Latents of a picture, as noisy as the solver's next timestep; as they are where it has done all its steps.

    Args:
        solver: Before the step that is to begin with the result.
        latents: (batch, channels, height, width), as many as `noise` or one.
        noise: Standard normal.

    Raises:
        InputError: shapes that do not fit, or a scheduler that cannot start from a picture.
    """
    _check_noise(latents, noise)
    return Latents(_noised(solver, latents, noise), latents.space)


def _noised(solver: Solver, latents: Latents, noise: Latents) -> torch.Tensor:
    from nodes.sampling import solver as solvers

    if solver.scheduler in schedulers.WITHOUT_ADD_NOISE:
        raise InputError("solver", expected="a scheduler for image-to-image", got=solver.scheduler)
    # One row for each image, and contiguous as in the inpainting pipelines: the layout moves the last bits.
    samples = latents.samples.to(noise.samples).expand_as(noise.samples).contiguous()
    if solvers.position(solver) + solver.begin_index >= len(solvers.of(solver).values):
        return samples
    return solvers.add_noise(solver, samples, noise.samples)


def _infer(
    latents: Latents | None = None, original: Latents | None = None, noise: Latents | None = None,
    mask: Mask | None = None,
) -> Latents | None:  # fmt: skip
    if latents is not None:
        _check(latents, original, noise, mask)
    return latents


@node(category="sampling", infer=_infer, preview=latents_thumbnail)
def blend_latents(solver: Solver, latents: Latents, original: Latents, noise: Latents, mask: Mask) -> Latents:
    """Keep what is to be kept: m * latents + (1 - m) * original, noised to the solver's next timestep.

    After the last step the original is put back without noise. The noise is the same at every step: that of the start.

    Args:
        solver: After the step that made `latents`.
        latents: (batch, channels, height, width).
        original: Latents of the picture, as many or one.
        noise: From `init_noise`, as many as `latents`.
        mask: 1 is repainted. At the size of the picture or of the latents; a larger one is sampled at every so many
            pixels. A soft mask mixes both.

    Raises:
        InputError: shapes that do not fit.

    Source: Lugmayr et al. 2022 (arXiv:2201.09865), eq. 8, without resampling; `StableDiffusionInpaintPipeline`.
    """
    from nodes.pictures.masks import at_size

    _check(latents, original, noise, mask)
    samples = latents.samples
    kept = _noised(solver, original, Latents(noise.samples.to(samples), noise.space))
    share = at_size(mask.values, samples).to(samples)
    return Latents((1 - share) * kept + share * samples, latents.space)


def _check(latents: Latents, original: Latents | None, noise: Latents | None, mask: Mask | None) -> None:
    shape = tuple(latents.samples.shape)
    for port, given in (("original", original), ("noise", noise)):
        if given is not None and not _fits(tuple(given.samples.shape), shape):
            raise _misfit(port, given, latents)
    if mask is not None:
        _check_mask(mask, latents)


def _check_noise(latents: Latents, noise: Latents) -> None:
    if not _fits(tuple(latents.samples.shape), tuple(noise.samples.shape)):
        raise _misfit("latents", latents, noise)


def _misfit(port: str, given: Latents, wanted: Latents) -> InputError:
    return InputError(
        port, expected=f"latents {TensorSpec(tuple(wanted.samples.shape))}",
        got=str(TensorSpec(tuple(given.samples.shape))), fix="make them of pictures of one size",
    )  # fmt: skip


def _check_mask(mask: Mask, latents: Latents) -> None:
    """A mask at the size of the latents, or of their picture."""
    sizes, given = tuple(latents.samples.shape[2:]), tuple(mask.values.shape[2:])
    picture = tuple(None if size is None else size * latents.space.downsampling for size in sizes)
    if not any(_agree(given, wanted) for wanted in (sizes, picture)):
        height, width = picture
        raise InputError(
            "mask", expected=f"a mask of {width} x {height} pixels, as the picture", got=f"{given[1]} x {given[0]}",
            fix=f"`resize_mask` makes {width} x {height}",
        )  # fmt: skip


def _agree(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def _fits(given: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """Equal shapes, or one row for all."""
    return len(given) == len(wanted) and _agree(given[1:], wanted[1:]) and given[0] in (None, 1, wanted[0])
