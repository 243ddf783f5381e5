"""Classifier guidance (Dhariwal & Nichol 2021, arXiv:2105.05233): a classifier of noisy pictures shows the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from nodes.models import random_models
from nodes.models.files import model_folder
from nodes.models.handles import canonical, config_of
from nodes.models.part import Part
from nodes.sampling import schedule, schedulers
from nodes.types import ClassifierModel, Gradient, Latents, NoisePred, Solver, Timestep

CLASS_NAME = "NoisyClassifier"

SMALL: Mapping[str, Any] = {
    "sample_size": 16, "in_channels": 3, "num_classes": 10, "block_out_channels": [8, 16], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "attention_head_dim": 8, "norm_num_groups": 4,
}  # fmt: skip
"""A classifier for the pictures of `random:ddpm`."""

CLASSIFIERS: Mapping[str, Mapping[str, Any]] = {"classifier": SMALL, "classifier_latent": {**SMALL, "in_channels": 4}}
"""Random classifiers by name; the second reads the latents of `random:sd15`."""


# --- load_classifier --------------------------------------------------------------------------------------------------


def fingerprint(path: str) -> str:
    """Content that decides what the classifier computes: the same in any folder."""
    return _part(path).digest()


def infer_load(path: str | None = None) -> ClassifierModel | None:
    """What `load_classifier` gives, without hashing the weights."""
    return None if path is None else _handle(_part(path), digest=False)


@node(category="model", infer=infer_load, fingerprint=fingerprint)
def load_classifier(path: str = "random:classifier") -> ClassifierModel:
    """A classifier of noisy pictures or latents, for classifier guidance. Its weights are loaded when it first runs.

    Args:
        path: A folder with a `config.json` of class `NoisyClassifier` and `diffusion_pytorch_model.safetensors`; or
            `random:classifier` (for `random:ddpm`) or `random:classifier_latent` (for `random:sd15`) for a tiny one
            with random weights.

    Raises:
        InputError: there is none, it is incomplete, pickled, or something else.
    """
    return _handle(_part(path), digest=True)


def _part(path: str) -> Part:
    if path.startswith(random_models.RANDOM):
        return _random(path)
    folder = runtime().readable(path)
    if not folder.is_dir():
        raise InputError("path", expected="a folder with a classifier", got=f"{path!r}, which is no folder")
    found = model_folder.read_json(folder / "config.json").get("_class_name")
    if found != CLASS_NAME:
        raise InputError("path", expected=f"a classifier ({CLASS_NAME})", got=f"a {found} in {folder}")
    return model_folder.read_part(folder, CLASS_NAME)


def _random(path: str) -> Part:
    name = path.removeprefix(random_models.RANDOM)
    if name not in CLASSIFIERS:
        known = " or ".join(CLASSIFIERS)
        raise InputError("path", expected=f"{known} after `{random_models.RANDOM}`", got=repr(name))
    return Part(path, CLASS_NAME, CLASSIFIERS[name], layout="random")


def _handle(part: Part, *, digest: bool) -> ClassifierModel:
    here = runtime()
    return ClassifierModel(
        part.source, part.class_name, canonical(part.config), part.digest() if digest else "", here.device, here.dtype,
        layout=part.layout,
    )  # fmt: skip


# --- classifier_gradient ----------------------------------------------------------------------------------------------


def infer_gradient(
    classifier: ClassifierModel | None = None, latents: Latents | None = None, class_label: int | None = None
) -> Gradient | None:
    """The latents' shape; refuses latents of another model, and a class that there is not."""
    if classifier is not None:
        _check(classifier, latents, class_label)
    return None if latents is None else Gradient(latents.samples)


@node(category="guidance", infer=infer_gradient)
def classifier_gradient(
    classifier: ClassifierModel,
    latents: Latents,
    timestep: Timestep,
    class_label: Annotated[int, Field(ge=0)] = 0,
    scale: Annotated[float, Field(ge=0, le=1000)] = 1.0,
) -> Gradient:
    """Where to go for a class to become more likely: s * grad_x log p(y | x_t), in float32 as small gradients matter.

    Args:
        classifier: From `load_classifier`; trained on pictures as noisy as the model's.
        latents: As the solver scales them (`scale_model_input`): (batch, channels, height, width).
        timestep: One entry of the schedule.
        class_label: y, from 0.
        scale: s; above 1 gives more typical and less varied pictures.

    Raises:
        InputError: the classifier reads other latents, or does not know this class.

    Source: arXiv:2105.05233, sec. 4.
    """
    from nodes.models.memory import weights
    from nodes.models.networks.classifier import gradient

    _check(classifier, latents, class_label)
    with weights.use(classifier, "float32") as module:
        samples = latents.samples.to(classifier.device).float()
        found = gradient(lambda points: module(points, timestep.value), samples, class_label)
    return Gradient((scale * found).to(latents.samples.dtype))


def _check(classifier: ClassifierModel, latents: Latents | None, class_label: int | None) -> None:
    config = config_of(classifier, "classifier", "a classifier")
    if class_label is not None and class_label >= config["num_classes"]:
        raise InputError(
            "class_label", expected=f"0 .. {config['num_classes'] - 1}, a class of this classifier",
            got=str(class_label),
        )  # fmt: skip
    if latents is None:
        return
    shape, channels = tuple(latents.samples.shape), config["in_channels"]
    if len(shape) != 4 or shape[1] not in (None, channels):
        raise InputError(
            "latents", expected=f"what this classifier reads, (batch, {channels}, height, width)",
            got=str(TensorSpec(shape)), fix="the classifier must have been trained for this model",
        )  # fmt: skip


# --- classifier_guidance ----------------------------------------------------------------------------------------------


def infer_guidance(
    noise_pred: NoisePred | None = None, gradient: Gradient | None = None, solver: Solver | None = None
) -> NoisePred | None:
    """The prediction's type and shape; refuses a gradient of another shape, and solvers that take it otherwise."""
    if noise_pred is not None and gradient is not None:
        schedule.same_shape("gradient", gradient.samples, "prediction", noise_pred.sample)
    if solver is not None:
        _check_solver(solver)
    return noise_pred


@node(category="guidance", infer=infer_guidance)
def classifier_guidance(noise_pred: NoisePred, gradient: Gradient, solver: Solver, timestep: Timestep) -> NoisePred:
    """Turn a prediction towards a class: eps' = eps - sqrt(1 - abar) g.

    Of a v_prediction, v' = v - sqrt((1 - abar) / abar) g; of a sample, x0' = x0 + (1 - abar) / sqrt(abar) g: the same
    change of eps. A learned variance stays. This is the paper's form for DDIM (algorithm 2), and it serves every
    scheduler; its ancestral form (algorithm 1), which moves the mean of a step by Sigma g, differs from it in a step
    of `ddpm` by the factor beta / (sqrt(alpha) Sigma), near 1 for many steps.

    Args:
        noise_pred: What the model said about the latents.
        gradient: g, from `classifier_gradient` of the same latents.
        solver: Before the step of this timestep.
        timestep: The next one of the solver.

    Raises:
        InputError: shapes differ, the solver is at another timestep, or is one that preconditions the model; nothing of
            the picture is left at this timestep (abar = 0), so that no gradient can be turned into v or a sample.

    Source: arXiv:2105.05233, sec. 4.2.
    """
    from nodes.sampling import levels

    _check_solver(solver)
    schedule.check_ready(solver, timestep)
    schedule.same_shape("gradient", gradient.samples, "prediction", noise_pred.sample)
    signal, noise = levels.level(solver).preserving
    if signal == 0 and noise_pred.prediction_type != "epsilon":
        raise _noise_alone(noise_pred.prediction_type)
    factors = {"epsilon": -noise, "v_prediction": -noise / signal, "sample": noise**2 / signal}
    sample = noise_pred.sample + factors[noise_pred.prediction_type] * gradient.samples.to(noise_pred.sample.device)
    return NoisePred(sample, noise_pred.prediction_type, noise_pred.variance)


def _noise_alone(prediction_type: str) -> InputError:
    return InputError(
        "timestep", expected="one at which something of the picture is left (abar > 0)",
        got=f"the first of a schedule with zero terminal SNR, where a {prediction_type} would move without bound",
        fix="begin the guidance one step later: choose by `guidance_mode` with `start` above 0, in a `switch`",
    )  # fmt: skip


def _check_solver(solver: Solver) -> None:
    if solver.scheduler in schedulers.UNSUITED:
        raise InputError(
            "solver", expected="a scheduler that takes the prediction for what it is",
            got=f"{solver.scheduler}: {schedulers.UNSUITED[solver.scheduler]}", fix="use `ddim` or `ddpm`, say",
        )  # fmt: skip
