"""Guidance by projections: only the part of one direction that is parallel, or not, to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from graphcore import node
from nodes.sampling.guidance import GuidanceScale, check_alike, infer
from nodes.sampling.schedule import Share
from nodes.types import NoisePred, Timestep

if TYPE_CHECKING:
    import torch


def infer_perpendicular(
    cond: NoisePred | None = None, uncond: NoisePred | None = None, negative: NoisePred | None = None
) -> NoisePred | None:
    """The prediction's type and shape, which all inputs must share."""
    if cond is not None and negative is not None:
        check_alike(cond, negative, "negative")
    return infer(cond, uncond)


@node(category="guidance", infer=infer_perpendicular)
def perpendicular_guidance(
    cond: NoisePred,
    uncond: NoisePred,
    negative: NoisePred,
    guidance_scale: GuidanceScale = 7.5,
    negative_weight: Annotated[float, Field(ge=0, le=10)] = 1.0,
) -> NoisePred:
    """Guidance away from a negative prompt that leaves alone what it shares with the positive one (Perp-Neg).

    eps = eps_u + s (p - w (n - <n, p> p / |p|^2)) with p = eps_c - eps_u and n = eps_n - eps_u; the products are over
    channels, height and width of one image.

    Args:
        cond: Prediction with the prompt.
        uncond: Prediction with the empty prompt.
        negative: Prediction with the negative prompt.
        guidance_scale: s.
        negative_weight: w; 0 is plain classifier-free guidance.

    Raises:
        InputError: the predictions differ in type or shape.

    Source: Armandpour et al. 2023 (arXiv:2304.04968), eq. 8 and 9.
    """
    check_alike(cond, uncond)
    check_alike(cond, negative, "negative")
    towards, away = cond.sample - uncond.sample, negative.sample - uncond.sample
    away = away - _along(away, towards)
    sample = uncond.sample + guidance_scale * (towards - negative_weight * away)
    return NoisePred(sample, cond.prediction_type, cond.variance)


def _along(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The part of `one` that is parallel to `other`, image by image; nothing where `other` is zero."""
    dims = tuple(range(1, one.dim()))
    product = (one * other).sum(dim=dims, keepdim=True)
    square = other.square().sum(dim=dims, keepdim=True)
    return product / square.clamp_min(1e-12) * other


@node(category="guidance", infer=infer)
def adaptive_projected_guidance(
    cond: NoisePred,
    uncond: NoisePred,
    guidance_scale: GuidanceScale = 7.5,
    eta: Share = 0.0,
    norm_threshold: Annotated[float, Field(ge=0, le=1e6)] = 15.0,
) -> NoisePred:
    """Guidance without the part along the conditional prediction, which saturates colours (APG).

    diffusers' own formula, on the predictions themselves and without momentum.

    Args:
        cond: Prediction with the prompt.
        uncond: Prediction with the empty or the negative prompt.
        guidance_scale: As in `classifier_free_guidance`.
        eta: Share that is kept of the parallel part; 1 with no threshold is classifier-free guidance.
        norm_threshold: Longest difference of the predictions, as a norm over one image; 0 for no limit.

    Raises:
        InputError: the predictions differ in type or shape.

    Source: Sadat et al. 2024 (arXiv:2410.02416), algorithm 1.
    """
    from diffusers.guiders.adaptive_projected_guidance import normalized_guidance

    check_alike(cond, uncond)
    sample = normalized_guidance(
        cond.sample, uncond.sample, guidance_scale, eta=eta, norm_threshold=norm_threshold
    )  # fmt: skip
    return NoisePred(sample, cond.prediction_type, cond.variance)


@node(category="guidance", infer=infer)
def zero_star_guidance(
    cond: NoisePred,
    uncond: NoisePred,
    timestep: Timestep,
    guidance_scale: GuidanceScale = 7.5,
    zero_init_steps: Annotated[int, Field(ge=0, le=1000)] = 0,
) -> NoisePred:
    """Guidance from the unconditional prediction at its best length: a eps_u, a = <eps_c, eps_u> / |eps_u|^2.

    diffusers' own formula (CFG-Zero*).

    Args:
        cond: Prediction with the prompt.
        uncond: Prediction with the empty or the negative prompt.
        timestep: Of the loop.
        guidance_scale: As in `classifier_free_guidance`.
        zero_init_steps: Steps, from the first, whose prediction is zero; for flow models.

    Raises:
        InputError: the predictions differ in type or shape.

    Source: Fan et al. 2025 (arXiv:2503.18886), eq. 8.
    """
    from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale

    check_alike(cond, uncond)
    if timestep.index < zero_init_steps:
        return NoisePred(cond.sample.new_zeros(cond.sample.shape), cond.prediction_type, cond.variance)
    length = cfg_zero_star_scale(cond.sample.flatten(1), uncond.sample.flatten(1))
    base = uncond.sample * length.view(-1, *[1] * (cond.sample.dim() - 1))
    return NoisePred(base + guidance_scale * (cond.sample - base), cond.prediction_type, cond.variance)
