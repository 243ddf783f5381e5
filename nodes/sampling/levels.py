"""How noisy latents are before a step, whatever a scheduler counts in: latents = signal * x0 + noise * eps.

Heavy: import this inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nodes.sampling import solver as solvers
from nodes.sampling.schedulers import EDM, IPNDM, SDE
from nodes.types import Solver

BY_ALPHAS = frozenset({"DDIMScheduler", "DDPMScheduler", "LCMScheduler", "PNDMScheduler", "TCDScheduler"})
"""Classes that look up alpha-bar of a timestep; their latents have variance 1 (VP) throughout."""

VARIANCE_EXPLODES = frozenset(
    {
        EDM, SDE, "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    }
)  # fmt: skip
"""Classes whose latents are x0 + sigma * eps (VE). The others count in sigmas too, but keep their latents VP."""

WITHOUT_CLIPPING = frozenset({"TCDScheduler"})
"""Classes that have the settings `clip_sample` and `thresholding` but do nothing by them."""


@dataclass(frozen=True, slots=True)
class Level:
    """Factors of the picture and of the noise in the latents; 0-dimensional CPU tensors or 1."""

    signal: Tensor | float
    noise: Tensor

    @property
    def scale(self) -> Tensor:
        """How many times larger the latents are than with variance 1 (VP), as the model sees them."""
        return (torch.as_tensor(self.signal) ** 2 + self.noise**2) ** 0.5

    @property
    def preserving(self) -> tuple[Tensor, Tensor]:
        """The factors at variance 1: sqrt(abar), sqrt(1 - abar)."""
        return self.signal / self.scale, self.noise / self.scale


def level(solver: Solver) -> Level:
    """The level of the latents that the solver's next step starts from."""
    made = solvers.of(solver)
    index = solver.begin_index + solvers.position(solver)
    if solver.scheduler in BY_ALPHAS:
        abar = made.scheduler.alphas_cumprod[int(made.values[index])]
        return Level(abar**0.5, (1 - abar) ** 0.5)
    if solver.scheduler == IPNDM:
        return Level(made.scheduler.alphas[index], made.scheduler.betas[index])
    sigma = _sigma(solver, made.scheduler, index)
    if solver.scheduler in VARIANCE_EXPLODES:
        return Level(1.0, sigma)
    return Level(*made.scheduler._sigma_to_alpha_sigma_t(sigma))


def _sigma(solver: Solver, scheduler: Any, index: int) -> Tensor:
    """Sigma at an entry of the schedule; the second call of a two-call step may lie between two entries."""
    between = (solver.state or {}).get("sample") is not None
    if between and solver.scheduler == SDE and solver.state is not None:
        return torch.as_tensor(solver.state["mid_point_sigma"])
    if between and solver.scheduler == "KDPM2DiscreteScheduler":
        return torch.as_tensor(scheduler.sigmas_interpol[index])
    if between and solver.scheduler == "KDPM2AncestralDiscreteScheduler":
        return torch.as_tensor(scheduler.sigmas_interpol[index - 1])
    return torch.as_tensor(scheduler.sigmas[index])


def original(solver: Solver, prediction: Tensor, sample: Tensor, prediction_type: str) -> Tensor:
    """x0-hat: the picture that a prediction means.

    Args:
        prediction: The model's output, (batch, channels, height, width).
        sample: The latents, as the solver carries them (not scaled), same shape.
        prediction_type: epsilon, v_prediction or sample.
    """
    made = solvers.of(solver)
    with torch.no_grad():
        if solver.scheduler == EDM:
            sigma = level(solver).noise
            found: Tensor = made.scheduler.precondition_outputs(sample, prediction, sigma)
        else:
            found = _original(level(solver), prediction, sample, prediction_type)
        return found if solver.scheduler in WITHOUT_CLIPPING else _clipped(made, found)


def _original(level: Level, prediction: Tensor, sample: Tensor, prediction_type: str) -> Tensor:
    if prediction_type == "sample":
        return prediction
    if prediction_type == "epsilon":
        return (sample - level.noise * prediction) / level.signal
    alpha, sigma = level.preserving
    return alpha * (sample / level.scale) - sigma * prediction


def _clipped(made: solvers.Template, found: Tensor) -> Tensor:
    """As the scheduler itself limits x0-hat (models of pixels, whose values lie within [-1, 1])."""
    if made.settings.get("thresholding"):
        limited: Tensor = made.scheduler._threshold_sample(found)
        return limited
    if made.settings.get("clip_sample"):
        limit = made.settings.get("clip_sample_range", 1.0)
        return found.clamp(-limit, limit)
    return found
