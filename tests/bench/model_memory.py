"""Memory of each model family against the diffusers pipeline, and two models that take turns in room for one.

Models with random weights in the shapes of the published ones, but less wide and deep, written below `--models` on
first use (0.3 to 1.5 GB each). Every figure is of a process of its own: `peak` is the most that it ever held, mapped
files included (MiB of resident memory); `weights` is what the files hold.

    python -m tests.bench.model_memory --families sd15 sdxl --repeats 3
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from nodes.models import classes, random_models
from nodes.models.random_models import Parts
from tests.bench import measure
from tests.parity import sd15

DTYPE = "float32"
"""Of files and runs: the only one in which a CPU is quick everywhere."""

OURS = """
import json, os
from graphcore import Engine, Workflow
from nodes.models.memory import weights
from nodes.resources import workflow_folder
workflow = Workflow.load(workflow_folder() / "{workflow}.json")
with Engine(cache=os.environ["STEPGRAPH_HOME"] + "/cache", device="cpu", dtype="{dtype}") as engine:
    engine.run(workflow, model={folder!r}, **{inputs!r})
print(json.dumps({{"held_mib": weights.held_bytes() / 2**20}}))
"""

PIPELINE = """
import torch, diffusers
pipeline = diffusers.{pipeline}.from_pretrained({folder!r}, local_files_only=True, dtype=torch.{dtype})
pipeline.set_progress_bar_config(disable=True)
pipeline(**{settings!r})
"""

TURNS = """
import json, time
from graphcore import Engine, Workflow
from nodes import load_model
from nodes.models.memory import weights
from nodes.resources import workflow_folder
workflow = Workflow.load(workflow_folder() / "{workflow}.json")
weights.set_limit({limit!r})
pictures, moves, held = [], [], []
with Engine(cache=None, device="cpu", dtype="{dtype}") as engine:
    for turn in range({turns}):
        begin = time.perf_counter()
        engine.run(workflow, model={folders!r}[turn % 2], seed=turn, **{inputs!r})
        pictures.append(time.perf_counter() - begin)
        held.append(weights.held_bytes() / 2**20)
loads = weights.report().loads
for turn in range({turns}):
    model = load_model({folders!r}[turn % 2], dtype="{dtype}")
    begin = time.perf_counter()
    for handle in (model.text_encoder, model.unet, model.vae):
        with weights.use(handle):
            pass
    moves.append(time.perf_counter() - begin)
print(json.dumps({{"pictures": pictures, "swaps": moves, "held_mib": max(held), "loads": loads}}))
"""

PIPELINE_TURNS = """
import json, time, gc, torch, diffusers
pictures, moves, pipeline = [], [], None
for turn in range({turns}):
    begin = time.perf_counter()
    pipeline = None
    gc.collect()
    pipeline = diffusers.{pipeline}.from_pretrained(
        {folders!r}[turn % 2], local_files_only=True, dtype=torch.{dtype})
    moves.append(time.perf_counter() - begin)
    pipeline.set_progress_bar_config(disable=True)
    pipeline(generator=torch.Generator().manual_seed(turn), **{settings!r})
    pictures.append(time.perf_counter() - begin)
print(json.dumps({{"pictures": pictures, "swaps": moves}}))
"""

TEXT = {**sd15.TEXT, "bos_token_id": 522, "eos_token_id": 523, "num_hidden_layers": 6, "model_type": "clip_text_model"}
WIDE_TEXT = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "projection_dim": 1280}
VAE = {**sd15.VAE, "block_out_channels": (64, 128, 256, 256)}
UNET = {**sd15.UNET, "block_out_channels": (128, 256, 512, 512)}
SDXL_UNET = {
    **UNET, "block_out_channels": (128, 256, 512), "cross_attention_dim": 2048, "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 4), "attention_head_dim": (4, 8, 16), "addition_time_embed_dim": 256,
    "addition_embed_type": "text_time", "projection_class_embeddings_input_dim": 1280 + 6 * 256,
}  # fmt: skip
PIXELS = {"block_out_channels": (128, 256, 384, 512), "norm_num_groups": 32, "layers_per_block": 2,
          "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
          "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), "sample_size": 32}  # fmt: skip

FAMILIES: Mapping[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "sd15": ("txt2img", "StableDiffusionPipeline", {"unet": UNET, "vae": VAE, "text_encoder": TEXT}),
    "sd21": ("txt2img", "StableDiffusionPipeline", {
        "unet": {**UNET, "cross_attention_dim": 1024, "attention_head_dim": (4, 8, 16, 16)}, "vae": VAE,
        "text_encoder": {**TEXT, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16},
    }),
    "sdxl": ("txt2img", "StableDiffusionXLPipeline", {
        "unet": SDXL_UNET, "vae": {**VAE, "scaling_factor": 0.13025}, "text_encoder": TEXT,
        "text_encoder_2": {**TEXT, **WIDE_TEXT, "num_hidden_layers": 4},
    }),
    "ddpm": ("ddpm", "DDPMPipeline", {"unet": PIXELS}),
}  # fmt: skip
"""Workflow, pipeline, and what makes the random model of that name as large as the published ones."""


def folder(family: str, seed: int, models: Path) -> str:
    """The folder of a model; written on first use."""
    path = models / f"{family}-{seed}-{DTYPE}"
    if not (path / "model_index.json").is_file():
        made = _made(random_models.MODELS[family](), FAMILIES[family][2], seed)
        _pipeline(FAMILIES[family][1], made).save_pretrained(path)
    return str(path)


def _made(parts: Parts, sizes: Mapping[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    import diffusers

    made: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, (class_name, config) in parts.items():
            if name.startswith("tokenizer"):
                made[name] = random_models.make_tokenizer(class_name, config)
            elif name == "scheduler":
                made[name] = getattr(diffusers, class_name).from_config(config)
            else:
                built = classes.build(class_name, {**config, **sizes[name]})
                made[name] = torch.nn.Module.to(built, getattr(torch, DTYPE))
    return made


def _pipeline(name: str, parts: dict[str, Any]) -> Any:
    import diffusers

    absent = {"StableDiffusionPipeline": ("safety_checker", "feature_extractor", "image_encoder")}.get(name, ())
    more = {"requires_safety_checker": False} if absent else {}
    return getattr(diffusers, name)(**parts, **dict.fromkeys(absent), **more)


def inputs(family: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs of a run: of the workflow, and the same for the pipeline."""
    if family == "ddpm":
        return {"steps": 2}, {"num_inference_steps": 2}
    size = {"prompt": "a red apple", "guidance_scale": 5.0, "width": 64, "height": 64}
    return {**size, "steps": 2}, {**size, "num_inference_steps": 2, "negative_prompt": ""}


def weights_mib(path: str) -> float:
    return sum(file.stat().st_size for file in Path(path).rglob("*.safetensors")) / 2**20


def spawn(code: str, threads: int) -> dict[str, Any]:
    home = tempfile.mkdtemp(prefix="stepgraph-bench-home-")
    try:
        return measure.spawn(code, STEPGRAPH_HOME=home, **({"OMP_NUM_THREADS": str(threads)} if threads else {}))
    finally:
        shutil.rmtree(home)


def paired(codes: Mapping[str, str], given: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in codes}
    for _ in range(given.repeats):
        for name, code in codes.items():
            found[name].append(spawn(code, given.threads))
    return found


def median(runs: list[dict[str, Any]], take: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(take(run) for run in runs)


def family_row(family: str, given: Any) -> dict[str, Any]:
    """Peak memory of one picture."""
    workflow, pipeline, _ = FAMILIES[family]
    ours, theirs = inputs(family)
    stated = {"folder": folder(family, 0, given.models), "dtype": DTYPE}
    runs = paired(
        {
            "ours": OURS.format(workflow=workflow, inputs=ours, **stated),
            "pipeline": PIPELINE.format(pipeline=pipeline, settings=theirs, **stated),
        },
        given,
    )
    peak = {name: median(found, lambda run: run["peak_mib"]) for name, found in runs.items()}
    return {
        "family": family, "weights": weights_mib(stated["folder"]), "ours_held": runs["ours"][0]["held_mib"],
        "ours_peak": peak["ours"], "pipeline_peak": peak["pipeline"], "ratio": peak["ours"] / peak["pipeline"],
        "runs": runs,
    }  # fmt: skip


def turns_rows(family: str, given: Any) -> list[dict[str, Any]]:
    """Two models of a family take turns: within room for one and without a limit, and a pipeline loaded each time."""
    workflow, pipeline, _ = FAMILIES[family]
    ours, theirs = inputs(family)
    folders = [folder(family, seed, given.models) for seed in (0, 1)]
    stated = {"folders": folders, "dtype": DTYPE, "turns": given.turns, "workflow": workflow, "inputs": ours}
    one = f"{weights_mib(folders[0]) * 1.05:.0f}MiB"
    runs = paired(
        {
            f"room for one ({one})": TURNS.format(limit=one, **stated),
            "room for both": TURNS.format(limit=None, **stated),
            "pipeline": PIPELINE_TURNS.format(
                pipeline=pipeline, settings=theirs, folders=folders, dtype=DTYPE, turns=given.turns
            ),
        },
        given,
    )
    return [
        {
            "two models": name, "peak": median(found, lambda run: run["peak_mib"]),
            "held": found[0].get("held_mib", ""), "loads": found[0].get("loads", ""),
            "swap_s": median(found, lambda run: statistics.median(run["swaps"][1:])),
            "picture_s": median(found, lambda run: statistics.median(run["pictures"][1:])), "runs": found,
        }
        for name, found in runs.items()
    ]  # fmt: skip


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "stepgraph-bench-models")
    options.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    options.add_argument("--turns", type=int, default=6, help="pictures by two models in turn (0: leave out)")
    given = options.parse_args()
    rows = [family_row(family, given) for family in given.families]
    measure.report(f"MiB, one picture in {DTYPE}, medians of {given.repeats}", rows, given.json)
    if given.turns:
        turns = turns_rows("sd15", given)
        file = given.json and given.json.with_suffix(f".turns{given.json.suffix}")
        measure.report(f"two models in turn, load {os.getloadavg()[0]:.1f}", turns, file)


if __name__ == "__main__":
    main()
