"""Peak memory (resident set) of a process that makes pictures, against the pipeline's; each in a process of its own.

`loaded` is after the imports and the first picture, `peak` the most that the process ever held.

    python -m tests.bench.memory --size emoji sd15 --pictures 3
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from typing import Any

from tests.bench import measure, models

COMMON = """
import json, os, psutil
def resident():
    return psutil.Process().memory_info().rss / 2**20
"""

OURS = """
from graphcore import Engine, Workflow
from nodes.resources import workflow_folder
workflow = Workflow.load(workflow_folder() / "txt2img.json")
after = []
with Engine(cache=os.environ["STEPGRAPH_HOME"] + "/cache", device="cpu", dtype="float32") as engine:
    for seed in range({pictures}):
        engine.run(workflow, model={folder!r}, prompt={prompt!r}, seed=seed, **{inputs!r})
        after.append(resident())
print(json.dumps({{"after_mib": after}}))
"""

PIPELINE = """
import torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({folder!r}, local_files_only=True, dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
after = []
for seed in range({pictures}):
    pipeline({prompt!r}, negative_prompt="", generator=torch.Generator().manual_seed(seed), **{settings!r})
    after.append(resident())
print(json.dumps({{"after_mib": after}}))
"""


def programs(folder: str, inputs: dict[str, Any], pictures: int) -> dict[str, str]:
    stated = {"folder": folder, "prompt": models.PROMPT, "pictures": pictures}
    return {
        "ours": COMMON + OURS.format(**stated, inputs=inputs),
        "pipeline": COMMON + PIPELINE.format(**stated, settings=models.for_pipeline(inputs)),
    }


def main() -> None:
    options = measure.with_models(measure.parser(__doc__), ["emoji"])
    options.add_argument("--pictures", type=int, default=2)
    given = options.parse_args()
    rows = []
    for size in given.size:
        codes = programs(models.folder(size, given.models), models.settings(size, given.steps), given.pictures)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in codes}
        for _ in range(given.repeats):
            for name, code in codes.items():
                home = tempfile.mkdtemp(prefix="stepgraph-bench-home-")
                variables = {"OMP_NUM_THREADS": str(given.threads)} if given.threads else {}
                found[name].append(measure.spawn(code, STEPGRAPH_HOME=home, **variables))
                shutil.rmtree(home)
        peak = {name: statistics.median(run["peak_mib"] for run in runs) for name, runs in found.items()}
        after = {name: statistics.median(run["after_mib"][-1] for run in runs) for name, runs in found.items()}
        rows.append(
            {
                "size": size, "ours_peak": peak["ours"], "pipeline_peak": peak["pipeline"],
                "ratio": peak["ours"] / peak["pipeline"], "ours_after": after["ours"],
                "pipeline_after": after["pipeline"], "runs": found,
            }
        )  # fmt: skip
    measure.report("MiB of resident memory, medians", rows, given.json)


if __name__ == "__main__":
    main()
