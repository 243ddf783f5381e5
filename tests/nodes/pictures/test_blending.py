"""What is kept while the rest is repainted: against the schedulers of diffusers, stepped as they are meant to be."""

from __future__ import annotations

import json
import sys

import diffusers
import pytest
import torch

from graphcore import InputError, TensorSpec
from nodes import blend_latents, load_model, make_schedule, noise_latents, scheduler_step
from nodes.types import Generators, Latents, LatentSpace, Mask, NoisePred, Solver, Timesteps

blending = sys.modules["nodes.pictures.blending"]

SPACE = LatentSpace(4, 2, 0.18215, 16)
SHAPE = (2, 4, 6, 8)
NAMES = ("ddim", "ddpm", "euler", "euler_ancestral", "heun", "dpmpp_2m_karras", "unipc", "pndm", "lms")


def _normal(seed: int, *shape: int) -> Latents:
    return Latents(torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed)), SPACE)


def _schedule(name: str, strength: float = 1.0) -> tuple[Timesteps, Solver]:
    scheduler = load_model("random:sd15").scheduler
    return make_schedule(scheduler, Generators((0, 1)), 4, name, strength=strength)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_noise_is_that_of_the_next_timestep(name: str, strength: float) -> None:
    """Diffusers' `add_noise` within a run, by a scheduler object that did all steps before."""
    timesteps, solver = _schedule(name, strength)
    oracle = getattr(diffusers, solver.scheduler).from_config(json.loads(solver.config))
    oracle.set_timesteps(4)
    if hasattr(oracle, "set_begin_index"):
        oracle.set_begin_index(solver.begin_index)
    picture, noise, latents = _normal(1), _normal(2), _normal(3)
    mask = Mask((torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(4)) > 0.5).float())
    theirs, drawn = latents.samples, [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    for index, timestep in enumerate(timesteps):
        prediction = _normal(10 + index).samples
        latents, solver = scheduler_step(solver, latents, NoisePred(prediction), timestep)
        oracle.scale_model_input(theirs, timestep.value)
        settings = {"generator": drawn} if name in ("ddpm", "euler_ancestral") else {}
        theirs = oracle.step(prediction, timestep.value, theirs, return_dict=False, **settings)[0]
        kept = picture.samples
        if index < len(timesteps) - 1:
            kept = oracle.add_noise(kept, noise.samples, timesteps.values[index + 1][None])
        expected = (1 - mask.values) * kept + mask.values * theirs
        assert torch.equal(blend_latents(solver, latents, picture, noise, mask).samples, expected)
        assert torch.equal(noise_latents(solver, picture, noise).samples, kept)


def test_a_mask_of_the_picture_is_sampled_and_a_soft_one_mixes() -> None:
    _, solver = _schedule("ddim")
    picture, noise, latents = _normal(1), _normal(2), _normal(3)
    large = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(4))
    small = large[:, :, ::2, ::2]
    kept = noise_latents(solver, picture, noise).samples
    expected = (1 - small) * kept + small * latents.samples
    assert torch.equal(blend_latents(solver, latents, picture, noise, Mask(large)).samples, expected)
    assert torch.equal(blend_latents(solver, latents, picture, noise, Mask(small)).samples, expected)


def test_one_original_serves_all() -> None:
    _, solver = _schedule("euler")
    picture, noise, latents, mask = _normal(1, 1, 4, 6, 8), _normal(2), _normal(3), Mask(torch.zeros(1, 1, 6, 8))
    twice = Latents(picture.samples.repeat(2, 1, 1, 1), SPACE)
    one = blend_latents(solver, latents, picture, noise, mask).samples
    assert torch.equal(one, blend_latents(solver, latents, twice, noise, mask).samples)
    assert one.shape == SHAPE


def test_shapes_that_do_not_fit_are_explained() -> None:
    _, solver = _schedule("ddim")
    good, mask = _normal(1), Mask(torch.zeros(1, 1, 6, 8))
    narrow, wrong = _normal(2, 2, 4, 6, 6), Mask(torch.zeros(1, 1, 12, 12))
    for call in (blend_latents, lambda _, *rest: blending._infer(*rest)):
        for arguments, port, message in (
            ((good, narrow, good, mask), "original", r"\(2, 4, 6, 8\), got \(2, 4, 6, 6\)"),
            ((good, good, narrow, mask), "noise", r"got \(2, 4, 6, 6\)"),
            ((good, good, good, wrong), "mask", "16 x 12 pixels, as the picture, got 12 x 12; `resize_mask`"),
        ):
            with pytest.raises(InputError, match=message) as caught:
                call(solver, *arguments)
            assert caught.value.port == port
    with pytest.raises(InputError, match=r"\(2, 4, 6, 6\)"):
        noise_latents(solver, good, narrow)
    described = Latents(TensorSpec((2, 4, None, 8)), SPACE)  # type: ignore[arg-type]
    assert blending._infer(described, good, good, mask) is described
