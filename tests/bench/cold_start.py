"""From the start of a process to the first picture on disk, against a ten-line script with diffusers.

Each process is new, with an empty home and cache; the files of Python and the weights are in the page cache (the
first pair is not counted). `cli` is the command `stepgraph run txt2img`, `api` the Python API.

    python -m tests.bench.cold_start --size emoji sd15
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import measure, models

API = """
import os
from pathlib import Path
from graphcore import Engine, Workflow
from nodes.resources import workflow_folder
workflow = Workflow.load(workflow_folder() / "txt2img.json")
with Engine(cache=os.environ["STEPGRAPH_HOME"] + "/cache") as engine:
    image = engine.run(workflow, model={folder!r}, prompt={prompt!r}, **{inputs!r}).image
    image.export(Path({out!r}), {{}})
"""

PIPELINE = """
import torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({folder!r}, local_files_only=True, dtype=torch.float32)
generator = torch.Generator("cpu").manual_seed(0)
image = pipeline({prompt!r}, negative_prompt="", generator=generator, **{settings!r}).images[0]
image.save({out!r} + ".png")
"""


def programs(folder: str, inputs: dict[str, Any], out: Path) -> dict[str, str]:
    """The three programs as code for `python -c`."""
    stated = {"folder": folder, "prompt": models.PROMPT, "out": str(out / "picture")}
    sets = {"model": folder, "prompt": models.PROMPT, **inputs}
    arguments = ["run", "txt2img", "--out", str(out)]
    for name, value in sets.items():
        arguments += ["--set", f"{name}={value}"]
    return {
        "cli": f"import sys\nfrom graphcore.cli import main\nsys.exit(main({arguments!r}))",
        "api": API.format(**stated, inputs=inputs),
        "pipeline": PIPELINE.format(**stated, settings=models.for_pipeline(inputs)),
    }


def start(code: str, threads: int) -> dict[str, Any]:
    """One process with a home of its own."""
    home = tempfile.mkdtemp(prefix="stepgraph-bench-home-")
    variables = {"STEPGRAPH_HOME": home, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    try:
        return measure.spawn(code, **variables)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    given = measure.with_models(measure.parser(__doc__), ["emoji"]).parse_args()
    rows = []
    for size in given.size:
        folder = models.folder(size, given.models)
        out = Path(tempfile.mkdtemp(prefix="stepgraph-bench-out-"))
        codes = programs(folder, models.settings(size, given.steps), out)
        seen: dict[str, list[dict[str, Any]]] = {name: [] for name in codes}

        def once(name: str, codes: dict[str, str] = codes, seen: dict[str, list[Any]] = seen) -> float:
            seen[name].append(start(codes[name], given.threads))
            return float(seen[name][-1]["seconds"])

        paired = measure.Paired({name: (lambda name=name: once(name)) for name in codes}).run(given.repeats + 1)
        for values in (*paired.seconds.values(), *seen.values()):
            del values[0]
        shutil.rmtree(out)
        for ours in ("cli", "api"):
            row = paired.row(ours, "pipeline")
            row["ours"] = row.pop(ours)
            cpu = {name: sorted(run["cpu"] for run in seen[name])[given.repeats // 2] for name in (ours, "pipeline")}
            rows.append({"size": size, "program": ours, **row, "cpu_ratio": cpu[ours] / cpu["pipeline"]})
    measure.report("seconds from process start to picture", rows, given.json)


if __name__ == "__main__":
    main()
