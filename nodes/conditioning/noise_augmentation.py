"""Noise on the small picture of super-resolution, so that the model may mend the faults of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.models import unet_inputs
from nodes.models.handles import config_of
from nodes.types import Conditioning, Generators, SchedulerConfig

NoiseLevel = Annotated[int, Field(ge=0, lt=1000)]

HIGHEST = 350
"""The highest noise level that the model was trained with, where `model_index.json` does not say."""

OURS = "max_noise_level"


class NoisedLowResolution(NamedTuple):
    """Noised channels for the UNet, and the random generators after the draw."""

    conditioning: Conditioning
    generators: Generators


def infer(
    small: Conditioning | None = None, low_res_scheduler: SchedulerConfig | None = None,
    generators: Generators | None = None, noise_level: int | None = None,
) -> NoisedLowResolution | None:  # fmt: skip
    """The shape of the channels, one picture for each generator; refuses a level that the model does not know."""
    if low_res_scheduler is not None:
        _check_level(low_res_scheduler, noise_level or 0)
    if small is None or generators is None:
        return None
    shape = _picture(small, generators)
    concat: Any = TensorSpec((len(generators), *shape[1:]))
    after: Any = generators
    return NoisedLowResolution(replace(small, concat=concat), after)


@node(category="conditioning", infer=infer)
def noise_low_resolution(
    small: Conditioning, low_res_scheduler: SchedulerConfig, generators: Generators, noise_level: NoiseLevel = 20
) -> NoisedLowResolution:
    """The channels of a small picture with noise: sqrt(abar) picture + sqrt(1 - abar) noise at the noise level.

    The UNet must be told the level too, as a class: link the same number to `class_vector`. Each image draws from its
    own generator: in the pipeline of diffusers, before the noise that it starts from.

    Args:
        small: From `encode_low_resolution`.
        low_res_scheduler: From `load_model`, of the Stable Diffusion x4 upscaler.
        generators: One per image.
        noise_level: Timestep of that scheduler, 0 .. 350 for the published model; more noise lets the model invent
            more. 20 is usual.

    Returns:
        `concat`, (images, 3, height, width), and the generators after the draw.

    Raises:
        InputError: the model has no such scheduler, was not trained with this level, or there is no picture, or not
            one for each image.

    Source: Ho et al. 2021 (arXiv:2106.15282), sec. 4.2; `StableDiffusionUpscalePipeline`.
    """
    import diffusers
    import torch

    from nodes.sampling import noise

    config = _check_level(low_res_scheduler, noise_level)
    _picture(small, generators)
    assert small.concat is not None
    picture = small.concat.expand(len(generators), -1, -1, -1)
    opened = noise.torch_generators(generators)
    drawn = torch.cat([torch.randn(1, *picture.shape[1:], generator=generator) for generator in opened])
    scheduler = diffusers.DDPMScheduler.from_config({name: value for name, value in config.items() if name != OURS})
    noised = scheduler.add_noise(picture, drawn.to(picture), torch.tensor([noise_level]))
    return NoisedLowResolution(replace(small, concat=noised), noise.after_draws(generators, opened))


def _check_level(scheduler: SchedulerConfig, noise_level: int) -> Mapping[str, Any]:
    config = config_of(scheduler, "low_res_scheduler", "a scheduler that noises small pictures")
    highest = int(config.get(OURS, HIGHEST))
    if noise_level > highest:
        raise InputError(
            "noise_level", expected=f"at most {highest}, as this model was trained", got=str(noise_level),
            fix="lower `noise_level`; 20 is usual",
        )  # fmt: skip
    return config


def _picture(small: Conditioning, generators: Generators) -> tuple[int | None, ...]:
    """The shape of the picture's channels; refuses a conditioning without any, or of another number of images."""
    if small.concat is None:
        raise InputError(
            "small", expected="a conditioning with `concat` channels", got="one without",
            fix="`encode_low_resolution` makes one of a picture",
        )  # fmt: skip
    shape = tuple(small.concat.shape)
    if shape[0] != 1 and not unet_inputs.same(shape[0], len(generators)):
        raise InputError(
            "small", expected=f"one picture, or {len(generators)}, as many as there are generators",
            got=f"{shape[0]} pictures", fix="give `seed_generators` this `batch_size`",
        )  # fmt: skip
    return shape
