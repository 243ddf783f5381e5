"""The schedulers at hand, by the names that people know, and what is known of them without running them.

Each name stands for a class of diffusers and the settings that make it what its name says; all else comes from the
configuration of the model's own scheduler, as in `EulerDiscreteScheduler.from_config(pipe.scheduler.config)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

SchedulerName = Literal[
    "default", "ddim", "ddpm", "deis", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde", "dpmpp_2m_sde_karras",
    "dpmpp_sde", "dpmpp_sde_karras", "dpmpp_singlestep", "edm_euler", "euler", "euler_ancestral", "heun", "ipndm",
    "kdpm2", "kdpm2_ancestral", "lcm", "lms", "pndm", "pndm_prk", "sa_solver", "tcd", "unipc",
]  # fmt: skip
"""`default` is the scheduler that the model comes with."""

SDE = "DPMSolverSDEScheduler"
"""The one scheduler whose noise is a Brownian path, a function of the seeds, and not drawn from generators."""

EDM = "EDMEulerScheduler"
"""The one that takes the model's output for something else than its configuration says: preconditioned as in EDM."""

IPNDM = "IPNDMScheduler"
"""The one whose time runs from 1 to 0; it takes every output for v."""


@dataclass(frozen=True)
class Choice:
    """What a name stands for: a class of diffusers and what is set in its configuration."""

    scheduler: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


_EVEN = {"use_karras_sigmas": False}
_KARRAS = {"use_karras_sigmas": True, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_2M = {"algorithm_type": "dpmsolver++"}
_2M_SDE = {"algorithm_type": "sde-dpmsolver++"}

CHOICES: Mapping[str, Choice] = MappingProxyType(
    {
        "ddim": Choice("DDIMScheduler"),
        "ddpm": Choice("DDPMScheduler"),
        "deis": Choice("DEISMultistepScheduler", {"algorithm_type": "deis", "solver_type": "logrho"}),
        "dpmpp_2m": Choice("DPMSolverMultistepScheduler", _2M | _EVEN),
        "dpmpp_2m_karras": Choice("DPMSolverMultistepScheduler", _2M | _KARRAS),
        "dpmpp_2m_sde": Choice("DPMSolverMultistepScheduler", _2M_SDE | _EVEN),
        "dpmpp_2m_sde_karras": Choice("DPMSolverMultistepScheduler", _2M_SDE | _KARRAS),
        "dpmpp_sde": Choice(SDE, _EVEN),
        "dpmpp_sde_karras": Choice(SDE, _KARRAS),
        "dpmpp_singlestep": Choice("DPMSolverSinglestepScheduler", _2M),
        "edm_euler": Choice(EDM),
        "euler": Choice("EulerDiscreteScheduler"),
        "euler_ancestral": Choice("EulerAncestralDiscreteScheduler"),
        "heun": Choice("HeunDiscreteScheduler"),
        "ipndm": Choice(IPNDM),
        "kdpm2": Choice("KDPM2DiscreteScheduler"),
        "kdpm2_ancestral": Choice("KDPM2AncestralDiscreteScheduler"),
        "lcm": Choice("LCMScheduler"),
        "lms": Choice("LMSDiscreteScheduler"),
        "pndm": Choice("PNDMScheduler", {"skip_prk_steps": True}),
        "pndm_prk": Choice("PNDMScheduler", {"skip_prk_steps": False}),
        "sa_solver": Choice("SASolverScheduler", {"algorithm_type": "data_prediction"}),
        "tcd": Choice("TCDScheduler"),
        "unipc": Choice("UniPCMultistepScheduler", {"solver_type": "bh2"}),
    }
)
"""All names but `default`."""

CLASSES = frozenset(choice.scheduler for choice in CHOICES.values())
"""The supported classes of diffusers: those that step Stable Diffusion models (`KarrasDiffusionSchedulers`), and
SASolver, LCM, TCD, IPNDM."""

UNSUITED: Mapping[str, str] = MappingProxyType(
    {
        EDM: "it preconditions the model's input and output as in EDM (arXiv:2206.00364)",
        IPNDM: "it runs its time from 1 to 0, not over the model's training timesteps",
    }
)
"""Schedulers that run with any model but give pictures only with models that were trained for them, and why."""

WITHOUT_SAMPLE_PREDICTION = frozenset(
    {
        EDM, "EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler", "PNDMScheduler", SDE,
    }
)  # fmt: skip
"""Schedulers that cannot step a model which predicts the sample itself."""

WITHOUT_ADD_NOISE = frozenset({IPNDM})
"""Schedulers that cannot start from a picture."""

_DIVIDE_BY_SIGNAL = frozenset({"DDIMScheduler", "DDPMScheduler", "LCMScheduler", "TCDScheduler"})
"""Schedulers whose abar is exactly 0 with `rescale_betas_zero_snr`; the others keep a trace of the picture, 2^-24."""

_TWO_CALLS = frozenset(
    {"HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", SDE}
)  # fmt: skip
_ALWAYS_DRAW = frozenset(
    {
        "DDPMScheduler", "EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "LCMScheduler",
        "SASolverScheduler", SDE,
    }
)  # fmt: skip
_CLIPS_BY_DEFAULT = frozenset({"DDIMScheduler", "DDPMScheduler"})
_WITH_ETA = frozenset({"DDIMScheduler", "TCDScheduler"})
_OWN_SPACING = frozenset({EDM, IPNDM, "LCMScheduler", "TCDScheduler"})


def chosen(name: str, own: str, *, pixels: bool = False) -> Choice:
    """What a name stands for in the place of a model's own scheduler.

    Args:
        name: `default` is the own one as it is.
        own: Class of the model's own scheduler.
        pixels: The model works on pixels. Those lie within [-1, 1], and x0-hat is clipped to it unless the model's
            configuration says otherwise; latents leave that range, and clipping is a mere default of diffusers.
    """
    if name == "default":
        return Choice(own)
    choice = CHOICES[name]
    if not pixels and choice.scheduler in _CLIPS_BY_DEFAULT:
        return Choice(choice.scheduler, {**choice.overrides, "clip_sample": False})
    return choice


def order(scheduler: str) -> int:
    """Entries of the schedule per step: 2 where a step takes two model calls."""
    return 2 if scheduler in _TWO_CALLS else 1


def draws(scheduler: str, config: Mapping[str, Any], eta: float) -> bool:
    """Whether steps draw noise."""
    if scheduler in _WITH_ETA:
        return eta > 0
    return scheduler in _ALWAYS_DRAW or str(config.get("algorithm_type")).startswith("sde-")


def learned_variance(scheduler: str, config: Mapping[str, Any]) -> bool:
    """Whether steps need the variance that the model says (improved DDPM, arXiv:2102.09672)."""
    return scheduler == "DDPMScheduler" and str(config.get("variance_type")).startswith("learned")


def begins_with_noise_alone(scheduler: str, config: Mapping[str, Any]) -> bool:
    """Whether nothing of the picture is left at the first timestep, abar = 0 (zero terminal SNR, arXiv:2305.08891): an
    epsilon says nothing about the picture there.
    """
    last = scheduler in _OWN_SPACING or config.get("timestep_spacing") in ("trailing", "linspace")
    return scheduler in _DIVIDE_BY_SIGNAL and last and bool(config.get("rescale_betas_zero_snr"))


def runge_kutta(scheduler: str, config: Mapping[str, Any]) -> bool:
    """Whether the schedule begins with Runge-Kutta steps (PNDM of arXiv:2202.09778; PLMS leaves them out)."""
    return scheduler == "PNDMScheduler" and not config.get("skip_prk_steps", False)


def length(scheduler: str, config: Mapping[str, Any], steps: int) -> int | None:
    """The number of entries of the whole schedule: of calls of the model; None where only diffusers can tell."""
    if scheduler == "DPMSolverMultistepScheduler" and config.get("lambda_min_clipped", -math.inf) > -math.inf:
        return None
    rows = steps
    if config.get("timestep_spacing") == "trailing" and scheduler not in _OWN_SPACING:
        total = config.get("num_train_timesteps", 1000)
        rows = math.ceil(total / (total / steps))  # what `np.arange(total, 0, -total / steps)` gives: rounding adds one
    if scheduler in _TWO_CALLS:
        return 2 * rows - 1
    if runge_kutta(scheduler, config):
        return 4 * (min(rows, 4) - 1) + max(rows - 3, 0)
    if scheduler == "PNDMScheduler":
        return rows + 1 if rows > 1 else 1
    return rows
