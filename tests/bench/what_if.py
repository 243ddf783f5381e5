"""What a change costs: seconds and UNet calls after a first run.

`restart` is a new engine on the same cache folder (the memory tier is empty, the weights are in memory); `warm` the
engine of the first run. The pipeline does everything again each time: its whole run is the yardstick.

    python -m tests.bench.what_if --size emoji
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from graphcore import Engine, Workflow
from graphcore.files.workflow import Link, NodeCall, Written
from tests.bench import measure, models
from tests.parity.shipped import REGISTRY, unet_calls, workflow


def changes(steps: int, scale: float) -> dict[str, tuple[Workflow | None, dict[str, Any]]]:
    """Name: another workflow, and inputs that differ from the first run's."""
    return {
        "nothing": (None, {}),
        "a node below the loop": (smaller(), {}),
        "guidance_scale": (None, {"guidance_scale": scale + 1}),
        "negative prompt": (None, {"negative_prompt": "a cat"}),
        "prompt": (None, {"prompt": "a frog"}),
        "seed": (None, {"seed": 1}),
        "back to the first seed": (None, {"seed": 0}),
        "step count": (None, {"steps": steps + 1}),
    }


def smaller() -> Workflow:
    """txt2img with its picture made smaller at the end."""
    shipped = workflow("txt2img")
    inputs = {"image": Link("image"), "width": Written(32), "height": Written(32)}
    nodes = {**shipped.nodes, "small": NodeCall("small", "resize_image", inputs)}
    return dataclasses.replace(shipped, nodes=nodes, outputs={**shipped.outputs, "small": Link("small")})


def run(engine: Engine, changed: Workflow | None, inputs: Mapping[str, Any]) -> tuple[float, int]:
    events: list[Any] = []
    begin = perf_counter()
    engine.run(changed or workflow("txt2img"), events.append, **inputs)
    return perf_counter() - begin, unet_calls(events)


def opened(cache: Path) -> Engine:
    return Engine(registry=REGISTRY, cache=cache, device="cpu", dtype="float32")


def measure_size(size: str, folder: str, inputs: dict[str, Any]) -> list[dict[str, Any]]:
    given = {"model": folder, "prompt": models.PROMPT, "seed": 0, **inputs}
    whole = pipeline_seconds(folder, inputs)
    cache = Path(tempfile.mkdtemp(prefix="stepgraph-bench-"))
    with opened(cache) as engine:
        run(engine, None, {**given, "seed": 99})  # loads the weights
        first, calls = run(engine, None, given)
    kept = cache.with_name(cache.name + "-first")
    shutil.copytree(cache, kept)
    rows: list[dict[str, Any]] = [
        {"size": size, "change": "first run", "warm_s": first, "warm_calls": calls, "pipeline_s": whole}
    ]
    for name, (changed, other) in changes(inputs["steps"], inputs["guidance_scale"]).items():
        shutil.rmtree(cache)
        shutil.copytree(kept, cache)  # no change profits from another one
        with opened(cache) as engine:
            restart, restart_calls = run(engine, changed, given | other)
        shutil.rmtree(cache)
        with opened(cache) as engine:
            run(engine, None, given)
            warm, warm_calls = run(engine, changed, given | other)
        rows.append(
            {
                "size": size, "change": name, "warm_s": warm, "warm_calls": warm_calls, "restart_s": restart,
                "restart_calls": restart_calls, "pipeline_s": whole,
            }
        )  # fmt: skip
    shutil.rmtree(cache)
    shutil.rmtree(kept)
    return rows


def pipeline_seconds(folder: str, inputs: dict[str, Any]) -> float:
    """A whole run of the pipeline, the second one."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    settings = models.for_pipeline(inputs)
    seconds = [
        measure.timed(lambda: pipeline(models.PROMPT, generator=torch.Generator().manual_seed(0), **settings))
        for _ in range(2)
    ]
    return seconds[-1]


def main() -> None:
    given = measure.with_models(measure.parser(__doc__), ["emoji"]).parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    rows = []
    for size in given.size:
        rows += measure_size(size, models.folder(size, given.models), models.settings(size, given.steps))
    measure.report("after a first run: what a change costs", rows, given.json)


if __name__ == "__main__":
    main()
