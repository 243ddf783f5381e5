"""`predict_original`: the picture that a prediction in the middle of a run means."""

from __future__ import annotations

from graphcore import node
from nodes.sampling import schedule
from nodes.types import Latents, NoisePred, Solver, Timestep


def infer(latents: Latents | None = None) -> Latents | None:
    """The shape is that of the latents; what the solver cannot take, the loop's `scheduler_step` refuses, once."""
    return latents


@node(category="sampling", infer=infer)
def predict_original(solver: Solver, latents: Latents, noise_pred: NoisePred, timestep: Timestep) -> Latents:
    """x0-hat: the latents without noise, as far as the model can tell at this step; what a preview shows.

    From x = a x0 + s eps with the factors of the step, for all schedulers: x0 = (x - s eps) / a; for a
    v_prediction, x0 = sqrt(abar) x - sqrt(1 - abar) v with x scaled to variance 1; for a sample, the prediction itself.
    Limited to [-1, 1] where the scheduler does so. The solver is not advanced and nothing is drawn.

    Args:
        solver: Before the step of this timestep.
        latents: What that step starts from, not scaled: (batch, channels, height, width).
        noise_pred: What the model said (after guidance), same shape.
        timestep: The next one of the solver.

    Raises:
        InputError: a solver at its end or at another timestep; shapes, batches or prediction types that differ.

    Source: Ho et al. 2020 (arXiv:2006.11239), eq. 15; Salimans & Ho 2022 (arXiv:2202.00512), appendix D.
    """
    from nodes.sampling import levels

    schedule.check_ready(solver, timestep)
    schedule.check_prediction(solver, latents, noise_pred)
    samples = latents.samples.to(noise_pred.sample.device)
    return Latents(levels.original(solver, noise_pred.sample, samples, _type(solver, noise_pred)), latents.space)


def _type(solver: Solver, noise_pred: NoisePred) -> str:
    """What the scheduler takes the prediction for: IPNDM knows only v."""
    from nodes.sampling.schedulers import IPNDM

    return "v_prediction" if solver.scheduler == IPNDM else noise_pred.prediction_type
