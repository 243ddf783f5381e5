"""The deep check of diffusion workflows: shapes, operations and memory against real runs and torch's own counts."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from graphcore import Engine, Workflow, node
from graphcore.check import deep
from graphcore.check.deep import NodeReport
from graphcore.declare.node import declared
from graphcore.errors import CheckFailed
from graphcore.plugins.loader import Plugins
from nodes.types import Conditioning, Latents
from tests.nodes import tiny

WORKFLOWS = Path(__file__).parents[2] / "workflows"
REGISTRY = Plugins().registry


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.save(tiny.tiny_pipeline(), tmp_path_factory.mktemp("tiny"))


def rows(workflow: Workflow, **inputs: Any) -> dict[str, NodeReport]:
    return {row.node: row for row in deep.check(workflow, REGISTRY, inputs)}


def with_all_outputs(name: str) -> Workflow:
    """A shipped workflow whose outputs are all outputs of its ordinary nodes."""
    data = json.loads((WORKFLOWS / name).read_text(encoding="utf-8"))
    types = {name: REGISTRY.find(call["type"]) for name, call in data["nodes"].items()}
    data["outputs"] = {
        f"{name}__{output}": {"from": f"{name}.{output}"}
        for name, found in types.items()
        if found is not None
        for output in found.outputs
    }
    data["outputs"]["latents"] = {"from": "denoise.latents"}
    return Workflow.parse(json.dumps(data), WORKFLOWS / name)


@pytest.mark.parametrize(("steps", "batch", "size"), [(3, 1, 32), (5, 2, 48)])
def test_shapes_are_those_of_the_run(model: str, steps: int, batch: int, size: int) -> None:
    workflow = with_all_outputs("txt2img.json")
    inputs = {"model": model, "steps": steps, "batch_size": batch, "width": size, "height": 32}
    found = rows(workflow, **inputs)
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        made = engine.run(workflow, **inputs)
    for name, value in made.items():
        if name != "latents":
            path, _, output = name.partition("__")
            said = found[path].outputs[output]
            if path not in ("schedule", "generators"):  # these have no tensors before they are used
                assert said == deep.shape(value), name
    assert found["denoise.loop.step"].outputs["latents"] == str(tuple(made["latents"].samples.shape))
    assert found["denoise.loop.predict.cond"].calls == steps
    assert {path for path, row in found.items() if row.traced} == {
        "text", "negative_text", "positive", "negative", "denoise.loop.predict.cond",
        "denoise.loop.predict.uncond", "image",
    }  # fmt: skip


def counted(module: torch.nn.Module, *arguments: Any) -> int:
    """Operations by torch's own counter; attention as plain matrix products, which it counts on every device."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(*arguments)
    return int(counter.get_total_flops())


def test_operations_are_those_that_torch_counts(model: str) -> None:
    found = rows(Workflow.load(WORKFLOWS / "txt2img.json"), model=model, batch_size=2)
    pipeline = tiny.tiny_pipeline()
    latents, context = torch.zeros(2, 4, 16, 16), torch.zeros(2, 77, tiny.WIDTH)
    assert found["denoise.loop.predict.cond"].flops == counted(pipeline.unet, latents, 5, context)
    assert found["image"].flops == counted(pipeline.vae.decoder, latents) + counted(
        pipeline.vae.post_quant_conv, latents
    )
    assert found["text"].flops == counted(pipeline.text_encoder, torch.zeros(1, 77, dtype=torch.long))


def test_memory_is_that_of_the_models_and_of_what_is_alive(model: str) -> None:
    found = rows(Workflow.load(WORKFLOWS / "txt2img.json"), model=model)
    pipeline = tiny.tiny_pipeline()

    def size(module: torch.nn.Module) -> int:
        return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))

    text, all_ = size(pipeline.text_encoder), size(pipeline.text_encoder) + size(pipeline.unet)
    assert text < found["text"].bytes < all_
    assert all_ < found["denoise.loop.predict.cond"].bytes < all_ + 2**20
    image = 3 * 32 * 32 * 4
    assert all_ + size(pipeline.vae.decoder) + image < found["image"].bytes


def test_without_guidance_half_of_the_work_is_not_reported(model: str) -> None:
    found = rows(Workflow.load(WORKFLOWS / "txt2img.json"), model=model, guidance_scale=1.0)
    assert "denoise.loop.predict.cond" in found
    assert "denoise.loop.predict.uncond" not in found
    assert "denoise.loop.predict.guided" not in found


@pytest.mark.parametrize("name", sorted(file.name for file in WORKFLOWS.glob("*.json")))
def test_the_shipped_workflows_pass(name: str, tmp_path: Path) -> None:
    workflow = Workflow.load(WORKFLOWS / name)
    given = {}
    if "image" in workflow.inputs:
        from PIL import Image

        Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
        given["image"] = str(tmp_path / "photo.png")
    assert deep.check(workflow, REGISTRY, given)


def test_a_check_leaves_nothing_behind(model: str) -> None:
    """What runs without content must not stay in caches that real runs read."""
    workflow = Workflow.load(WORKFLOWS / "txt2img.json")
    inputs = {"model": model, "steps": 3, "scheduler": "dpmpp_2m"}
    rows(workflow, **inputs)
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        latents = engine.run(workflow, **inputs)["latents"].samples
    assert type(latents) is torch.Tensor  # not a fake one
    assert latents.abs().sum() > 0
    assert rows(workflow, **inputs).keys()


# -- mistakes --------------------------------------------------------------------------------------------------


@node(category="test")
def narrow(latents: Latents) -> Conditioning:
    """Conditioning of a width that no model has; nothing says so but the code."""
    return Conditioning(context=torch.zeros(len(latents.samples), 7, 5))


@node(category="test")
def multiply(latents: Latents) -> Latents:
    """Fails on every shape."""
    return Latents(latents.samples @ torch.zeros(3, 3), latents.space)


@node(category="test")
def peek(latents: Latents) -> Latents:
    """Looks at the content."""
    return latents if latents.samples.mean().item() > 0 else Latents(-latents.samples, latents.space)


@node(category="test", pure=False)
def effect(latents: Latents) -> Latents:
    """Must not run in a check."""
    raise AssertionError("it ran")


def changed(**nodes: Mapping[str, Any]) -> tuple[Workflow, Any]:
    """txt2img with nodes replaced, and a registry that has the test nodes."""
    extra = [found for function in (narrow, multiply, peek, effect) if (found := declared(function))]
    data = json.loads((WORKFLOWS / "txt2img.json").read_text(encoding="utf-8"))
    data["nodes"].update(nodes)
    return Workflow.parse(json.dumps(data, indent=1), WORKFLOWS / "txt2img.json"), REGISTRY.with_nodes("test", extra)


def test_a_wrong_context_that_only_the_code_knows_is_found(model: str) -> None:
    workflow, registry = changed(positive={"type": "test/narrow", "inputs": {"latents": {"from": "start"}}})
    with pytest.raises(CheckFailed) as caught:
        deep.check(workflow, registry, {"model": model})
    [problem] = caught.value.problems
    assert (problem.code, problem.node, problem.port) == ("model", "denoise.loop.predict.cond", "conditioning")
    assert str(tiny.WIDTH) in problem.expected


def decoded(name: str) -> tuple[Workflow, Any]:
    return changed(
        odd={"type": f"test/{name}", "inputs": {"latents": {"from": "start"}}},
        image={"type": "vae_decode", "inputs": {"vae": {"from": "model.vae"}, "latents": {"from": "odd"}}},
    )


def test_code_that_fails_on_the_shapes_is_named(model: str) -> None:
    workflow, registry = decoded("multiply")
    with pytest.raises(CheckFailed) as caught:
        deep.check(workflow, registry, {"model": model})
    [problem] = caught.value.problems
    assert (problem.code, problem.node) == ("deep", "odd")
    assert "`test/multiply` fails on values of these shapes: RuntimeError" in problem.message
    assert problem.got == "latents (1, 4, 16, 16)"
    assert problem.line > 1


@pytest.mark.parametrize("name", ["peek", "effect"])
def test_what_cannot_run_without_content_is_left_out(model: str, name: str) -> None:
    workflow, registry = decoded(name)
    found = {row.node: row for row in deep.check(workflow, registry, {"model": model})}
    assert not found["odd"].traced
    assert found["odd"].outputs == {"output": "?"}
    assert found["denoise.loop.predict.cond"].traced


# -- Stable Diffusion 1.5, of which there are only the configurations ------------------------------------------------

SD15: dict[str, dict[str, Any]] = {
    "unet/config.json": {
        "_class_name": "UNet2DConditionModel", "sample_size": 64, "in_channels": 4, "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    },
    "vae/config.json": {
        "_class_name": "AutoencoderKL", "sample_size": 512, "latent_channels": 4, "layers_per_block": 2,
        "block_out_channels": [128, 256, 512, 512], "scaling_factor": 0.18215,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
    "text_encoder/config.json": {
        "architectures": ["CLIPTextModel"], "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072,
        "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
    },
    "tokenizer/tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77},
    "scheduler/scheduler_config.json": {"_class_name": "PNDMScheduler", **tiny.SCALED_LINEAR, "skip_prk_steps": True},
    "model_index.json": {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
    },
}  # fmt: skip
TENSORS = {
    "unet/diffusion_pytorch_model": {"conv_in.weight": [320, 4, 3, 3]},
    "vae/diffusion_pytorch_model": {"decoder.conv_in.weight": [512, 4, 3, 3]},
    "text_encoder/model": {"text_model.embeddings.token_embedding.weight": [49408, 768]},
}
"""The tensors that tell which model a file belongs to; the files hold nothing else, and no content."""


def weightless(folder: Path) -> str:
    for name, content in SD15.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    for name, tensors in TENSORS.items():
        header, end = {}, 0
        for key, shape in tensors.items():
            begin, end = end, end + 4 * math.prod(shape)
            header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
        encoded = json.dumps(header).encode()
        with (folder / f"{name}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(encoded)) + encoded)
            file.truncate(8 + len(encoded) + end)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tiny.vocabulary()))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    return str(folder)


def test_stable_diffusion_is_checked_without_its_weights(tmp_path: Path) -> None:
    found = rows(Workflow.load(WORKFLOWS / "txt2img.json"), model=weightless(tmp_path))
    unet, image = found["denoise.loop.predict.cond"], found["image"]
    assert unet.outputs == {"output": "(1, 4, 64, 64)"}
    assert image.outputs == {"output": "(1, 3, 512, 512)"}
    assert found["positive"].outputs == {"output": "(1, 77, 768)"}
    from diffusers import UNet2DConditionModel

    settings = {key: value for key, value in SD15["unet/config.json"].items() if not key.startswith("_")}
    with torch.device("meta"):
        module = UNet2DConditionModel(**settings)
        arguments = torch.zeros(1, 4, 64, 64), torch.tensor(5), torch.zeros(1, 77, 768)
        expected = counted(module, *arguments)
    assert unet.flops == expected
    weights = 4 * (859_520_964 + 123_060_480)  # published numbers of parameters
    assert weights < unet.bytes < weights * 1.2
