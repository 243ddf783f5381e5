"""Classifier guidance against closed forms (a mixture of two Gaussians) and finite differences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcore import Engine, InputError, TensorSpec
from nodes import (
    classifier_gradient,
    classifier_guidance,
    init_noise,
    load_classifier,
    make_schedule,
    predict_original,
    prepare_latents,
    scale_model_input,
    seed_generators,
)
from nodes.models.memory import weights
from nodes.models.networks.classifier import NoisyClassifier, gradient
from nodes.types import Gradient, Latents, LatentSpace, NoisePred, Timestep
from tests.nodes.sampling.test_solver_truth import alpha_cumprod, handle
from tests.parity.shipped import REGISTRY, workflow

module = sys.modules["nodes.sampling.classifier"]
SPACE = LatentSpace(3, 1, 1.0, 16)
MEANS = (-1.2, 0.7)
"""Class y is N(MEANS[y], STD^2) in each element; both are as frequent."""
STD = 0.4


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _at(timestep: int = 500) -> Timestep:
    return Timestep(torch.tensor(timestep), 0)


# --- the mixture ------------------------------------------------------------------------------------------------------


def _log_density(x: Tensor, label: int, abar: float) -> Tensor:
    """The logarithm of p(x_t | y) of images of independent elements, up to a constant."""
    variance = abar * STD**2 + 1 - abar
    return -((x - abar**0.5 * MEANS[label]) ** 2).flatten(1).sum(dim=1) / (2 * variance)


def _epsilon(x: Tensor, label: int | None, abar: float) -> Tensor:
    """The best prediction: -sqrt(1 - abar) grad log p, of one class or of the mixture."""
    variance = abar * STD**2 + 1 - abar
    of_class = [(1 - abar) ** 0.5 * (x - abar**0.5 * mean) / variance for mean in MEANS]
    if label is not None:
        return of_class[label]
    share = torch.softmax(_logits(x, abar), dim=1)
    return sum(share[:, k].view(-1, 1, 1, 1) * of_class[k] for k in (0, 1))  # type: ignore[return-value]


def _logits(x: Tensor, abar: float) -> Tensor:
    return torch.stack([_log_density(x, 0, abar), _log_density(x, 1, abar)], dim=1)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmpp_2m", "euler", "heun"])
def test_it_turns_the_mixtures_prediction_into_that_of_the_class(name: str, prediction_type: str) -> None:
    """Bayes: grad log p(x | y) = grad log p(x) + grad log p(y | x). In float64; the factors are diffusers' float32."""
    timesteps, solver = make_schedule(handle(prediction_type=prediction_type), seed_generators(0, 2), 7, name)
    first = next(iter(timesteps))
    latents = prepare_latents(solver, Latents(_noise(2, 3, 2, 2), SPACE), timesteps)
    x = scale_model_input(solver, latents, first).samples
    abar = alpha_cumprod(float(first.value))

    def said(epsilon: Tensor) -> Tensor:
        original = (x - (1 - abar) ** 0.5 * epsilon) / abar**0.5
        v = abar**0.5 * epsilon - (1 - abar) ** 0.5 * original
        return {"epsilon": epsilon, "sample": original, "v_prediction": v}[prediction_type]

    slope = gradient(lambda points: _logits(points, abar), x, 1)
    variance = _noise(2, 3, 2, 2, seed=9)
    mixed = NoisePred(said(_epsilon(x, None, abar)), prediction_type, variance)
    found = classifier_guidance(mixed, Gradient(slope), solver, first)
    torch.testing.assert_close(found.sample, said(_epsilon(x, 1, abar)), rtol=1e-4, atol=1e-5)
    assert found.prediction_type == prediction_type
    assert found.variance is variance


@pytest.mark.parametrize("abar", [0.999, 0.9, 0.5, 0.05])
@pytest.mark.parametrize("label", [0, 1])
def test_the_gradient_of_the_mixture_is_exact(label: int, abar: float) -> None:
    x = _noise(3, 3, 2, 2)
    slope = gradient(lambda points: _logits(points, abar), x, label)
    found = _epsilon(x, None, abar) - (1 - abar) ** 0.5 * slope
    assert float((found - _epsilon(x, label, abar)).abs().max()) < 1e-12


def test_guidance_moves_the_picture_along_the_gradient() -> None:
    """x0-hat moves by (1 - abar) / sqrt(abar) times the gradient, whatever the model predicts."""
    shifts = []
    for prediction_type in ("epsilon", "v_prediction", "sample"):
        timesteps, solver = make_schedule(handle(prediction_type=prediction_type), None, 5, "ddim")
        latents, first = Latents(_noise(1, 3, 4, 4), SPACE), next(iter(timesteps))
        plain = NoisePred(_noise(1, 3, 4, 4, seed=1), prediction_type)
        guided = classifier_guidance(plain, Gradient(_noise(1, 3, 4, 4, seed=2)), solver, first)
        before, after = (predict_original(solver, latents, pred, first).samples for pred in (plain, guided))
        shifts.append(after - before)
    abar = alpha_cumprod(float(first.value))
    exact = (1 - abar) / abar**0.5 * _noise(1, 3, 4, 4, seed=2)
    for shift in shifts:
        torch.testing.assert_close(shift, exact, rtol=1e-4, atol=1e-4)


# --- the classifier ---------------------------------------------------------------------------------------------------


def _module() -> Any:
    torch.manual_seed(0)
    return NoisyClassifier(**module.SMALL).eval().requires_grad_(False)


def test_the_gradient_agrees_with_finite_differences() -> None:
    classify = _module().double()
    x, label = _noise(2, 3, 16, 16), 4

    def log_probability(points: Tensor) -> Tensor:
        return torch.log_softmax(classify(points, torch.tensor(321)), dim=1)[:, label]

    slope = gradient(lambda points: classify(points, torch.tensor(321)), x, label)
    for seed in range(4):
        direction = _noise(2, 3, 16, 16, seed=10 + seed)
        step = 1e-5
        difference = (log_probability(x + step * direction) - log_probability(x - step * direction)) / (2 * step)
        torch.testing.assert_close((slope * direction).flatten(1).sum(dim=1), difference, rtol=1e-6, atol=1e-9)


def test_each_image_is_classified_by_itself_and_the_time_counts() -> None:
    classify = _module()
    x = _noise(3, 3, 16, 16).float()
    whole = classify(x, torch.tensor(10))
    assert whole.shape == (3, 10)
    torch.testing.assert_close(classify(x[1:2], torch.tensor(10))[0], whole[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(classify(x, torch.tensor(900)), whole, atol=1e-3)
    assert classify(_noise(1, 3, 24, 40).float(), torch.tensor(10)).shape == (1, 10)


def test_the_node_scales_the_gradient_and_flows_no_further() -> None:
    classifier, latents = load_classifier("random:classifier"), Latents(_noise(2, 3, 16, 16).float(), SPACE)
    with torch.no_grad():
        once = classifier_gradient(classifier, latents, _at(), 3, 1.0).samples
        found = classifier_gradient(classifier, latents, _at(), 3, 2.5).samples
    assert torch.equal(found, 2.5 * once)
    assert float(once.abs().max()) > 0
    assert not found.requires_grad
    assert latents.samples.grad is None
    with weights.use(classifier, "float32") as borrowed:
        expected = gradient(lambda points: borrowed(points, _at().value), latents.samples, 3)
        assert all(parameter.grad is None for parameter in borrowed.parameters())
    assert torch.equal(once, expected)


def test_half_precision_is_classified_in_float32() -> None:
    classifier, full = load_classifier(), _noise(1, 3, 16, 16).half()
    found = classifier_gradient(classifier, Latents(full, SPACE), _at(), 3, 1.0).samples
    expected = classifier_gradient(classifier, Latents(full.float(), SPACE), _at(), 3, 1.0).samples
    assert found.dtype == torch.float16
    assert torch.equal(found, expected.half())


def test_following_the_gradient_makes_the_class_more_likely() -> None:
    classifier, x = load_classifier(), _noise(2, 3, 16, 16).float()
    with weights.use(classifier, "float32") as borrowed:
        before = torch.softmax(borrowed(x, torch.tensor(500)), dim=1)[:, 7]
        for _ in range(20):
            slope = classifier_gradient(classifier, Latents(x, SPACE), _at(), 7).samples
            x = x + 0.1 * slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        after = torch.softmax(borrowed(x, torch.tensor(500)), dim=1)[:, 7]
    assert bool((after > before).all())


# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_loaded_with_its_weights(tmp_path: Path) -> None:
    made = _module()
    made.save_pretrained(tmp_path / "classifier")
    loaded = load_classifier(str(tmp_path / "classifier"))
    x = _noise(1, 3, 16, 16).float()
    with weights.use(loaded) as borrowed:
        torch.testing.assert_close(borrowed(x, torch.tensor(3)), made(x, torch.tensor(3)), rtol=1e-5, atol=1e-5)
    other = _module()
    with torch.no_grad():
        other.head.bias += 1
    other.save_pretrained(tmp_path / "other")
    prints = [module.fingerprint(str(tmp_path / name)) for name in ("classifier", "other")]
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("random:nothing", r"classifier or classifier_latent after `random:`"),
        ("gone", r"a folder with a classifier, got .*gone"),
    ],
)
def test_what_is_no_classifier_is_refused(tmp_path: Path, path: str, message: str) -> None:
    given = path if path.startswith("random:") else str(tmp_path / path)
    for call in (load_classifier, module.infer_load):
        with pytest.raises(InputError, match=message):
            call(given)


def test_another_models_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(InputError, match=r"a classifier \(NoisyClassifier\), got a UNet2DModel"):
        module.infer_load(str(tmp_path))


# --- refusals and inference -------------------------------------------------------------------------------------------


def test_other_latents_and_classes_are_refused() -> None:
    classifier = load_classifier("random:classifier_latent")
    described = Latents(TensorSpec((None, 3, 16, 16)), SPACE)  # type: ignore[arg-type]
    for call in (
        lambda: module.infer_gradient(classifier, described, 0),
        lambda: classifier_gradient(classifier, Latents(_noise(1, 3, 16, 16), SPACE), _at(), 0),
    ):
        with pytest.raises(InputError, match=r"\(batch, 4, height, width\).*trained for this model") as caught:
            call()
        assert caught.value.port == "latents"
    with pytest.raises(InputError, match=r"0 .. 9, a class of this classifier, got 10") as caught:
        module.infer_gradient(classifier, None, 10)
    assert caught.value.port == "class_label"
    assert module.infer_gradient() is None
    assert module.infer_gradient(load_classifier(), described, 0).samples == TensorSpec((None, 3, 16, 16))


def test_solvers_that_precondition_are_refused() -> None:
    noise, generators = init_noise(SPACE, seed_generators(0))
    for name in ("edm_euler", "ipndm"):
        timesteps, solver = make_schedule(handle(), generators, 4, name)
        said, first = NoisePred(noise.samples), next(iter(timesteps))
        for call in (
            lambda said=said, solver=solver: module.infer_guidance(said, None, solver),
            lambda said=said, solver=solver, first=first: classifier_guidance(
                said, Gradient(said.sample), solver, first
            ),
        ):
            with pytest.raises(InputError, match="takes the prediction for what it is") as caught:
                call()
            assert caught.value.port == "solver"
    with pytest.raises(InputError, match="the shape of the prediction") as caught:
        module.infer_guidance(NoisePred(noise.samples), Gradient(noise.samples[:, :1]))
    assert caught.value.port == "gradient"


def test_the_shipped_workflow() -> None:
    """With a scale of 0 it is the plain sampler; the label and the scale change the picture."""
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        plain = engine.run(workflow("ddpm"), seed=4, steps=4).latents.samples
        guided = workflow("classifier_guidance")
        zero = engine.run(guided, seed=4, steps=4, scheduler="ddpm", classifier_scale=0.0).latents.samples
        one = engine.run(guided, seed=4, steps=4, scheduler="ddpm", classifier_scale=50.0).latents.samples
        two = engine.run(guided, seed=4, steps=4, scheduler="ddpm", classifier_scale=50.0, class_label=3)
        learned = engine.run(guided, model="random:improved_ddpm", steps=4, classifier_scale=50.0).latents.samples
    assert torch.equal(zero, plain)
    assert not torch.equal(one, plain)
    assert not torch.equal(two.latents.samples, one)
    assert bool(learned.isfinite().all())
