"""The models that benchmarks run: folders in the diffusers layout, random weights but for the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nodes import resources
from tests.nodes import tiny
from tests.parity import sd15

SETTINGS: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 20, "guidance_scale": 7.5},
    "emoji": {"steps": 20, "guidance_scale": 4.0},
    "sd15": {"steps": 4, "guidance_scale": 7.5, "width": 256, "height": 256},
}
"""Inputs of the workflow txt2img per size."""

PROMPT = "a red apple"


def folder(size: str, models: Path) -> str:
    """The folder of a model; those with random weights are written below `models` on first use."""
    if size == "emoji":
        return str(resources.model_folder("emoji"))
    path = models / size
    if size == "sd15":
        return str(sd15.folder(path))
    if not (path / "model_index.json").is_file():
        tiny.save(tiny.tiny_pipeline(), path)
    return str(path)


def settings(size: str, steps: int) -> dict[str, Any]:
    """Inputs of a run; `steps` replaces the size's own."""
    return {**SETTINGS[size], **({"steps": steps} if steps else {})}


def texts(number: int) -> dict[str, str]:
    """Prompts that no other number has."""
    return {"prompt": f"{PROMPT} {number}", "negative_prompt": f"a cat {number}"}


def for_pipeline(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same run in the words of StableDiffusionPipeline."""
    return {"num_inference_steps" if name == "steps" else name: value for name, value in inputs.items()}
