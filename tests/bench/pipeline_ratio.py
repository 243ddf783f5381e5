"""Whole-run time of the workflow txt2img against StableDiffusionPipeline: same weights, threads and settings.

Both have their weights in memory; runs in turn, A B A B, each with a seed and prompts of its own, so that nothing of an
earlier run can be used again. `ours` runs with a cache on disk, as the command line does; `memory` without one.
`engine` is what our run took outside of nodes.

    python -m tests.bench.pipeline_ratio --size tiny emoji sd15
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from graphcore import Engine
from tests.bench import measure, models
from tests.parity.shipped import REGISTRY, workflow


def compare(size: str, folder: str, inputs: dict[str, Any], repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    seeds = {"ours": 0, "memory": 10_000, "pipeline": 20_000}
    inside: list[float] = []
    disk = Path(tempfile.mkdtemp(prefix="stepgraph-bench-"))
    shipped = workflow("txt2img")

    def next_seed(name: str) -> int:
        seeds[name] += 1
        return seeds[name]

    def run(engine: Engine, name: str) -> float:
        seed = next_seed(name)
        given = {"model": folder, "seed": seed, **models.texts(seed), **inputs}
        begin = clock()
        started = engine.start(shipped, given)
        started.finish()
        seconds = clock() - begin
        if name == "ours":
            inside.append(seconds - started.tally.node_seconds)
        return seconds

    def theirs() -> float:
        seed = next_seed("pipeline")
        settings = {**models.texts(seed), **models.for_pipeline(inputs)}
        generator = torch.Generator("cpu").manual_seed(seed)
        return measure.timed(lambda: pipeline(generator=generator, output_type="np", **settings), clock)

    with (
        Engine(registry=REGISTRY, cache=disk, device="cpu", dtype="float32") as kept,
        Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as memory,
    ):
        paired = measure.Paired(
            {"ours": lambda: run(kept, "ours"), "pipeline": theirs, "memory": lambda: run(memory, "memory")}
        )
        paired.run(1)  # warm up
        for values in (*paired.seconds.values(), inside):
            values.clear()
        paired.run(repeats)
    shutil.rmtree(disk)
    row = {"size": size, "steps": inputs["steps"], **paired.row("ours", "pipeline")}
    row["memory"], row["ratio_memory"] = (paired.row("memory", "pipeline")[name] for name in ("memory", "ratio"))
    return {**row, "engine": sorted(inside)[len(inside) // 2]}


def main() -> None:
    options = measure.with_models(measure.parser(__doc__), ["tiny", "emoji"])
    given = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    rows, clock = [], measure.clock(given.cpu)
    for size in given.size:
        folder = models.folder(size, given.models)
        rows.append(compare(size, folder, models.settings(size, given.steps), given.repeats, clock))
    measure.report(f"seconds per picture, {torch.get_num_threads()} threads", rows, given.json)


if __name__ == "__main__":
    main()
