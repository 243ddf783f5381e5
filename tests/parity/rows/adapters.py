"""LoRA, textual inversion and IP-Adapter against the pipelines of diffusers, which load the same files."""

from __future__ import annotations

import copy
import functools
import json
import warnings
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from PIL import Image as Pillow
from transformers import CLIPImageProcessorPil

from graphcore import Engine, Workflow
from nodes import load_image_encoder, resources
from nodes.models.adapters import ip_adapter, lora, textual_inversion
from nodes.models.files import adapter_file
from nodes.models.memory import weights
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

STEPS = 4
PROMPT, NEGATIVE = "a red apple", "the cat"
PICTURE = resources.workflow_folder() / "example.png"
PIPELINES = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}


def content(file: adapter_file.AdapterFile) -> dict[str, torch.Tensor]:
    """What a file with random weights holds."""
    return adapter_file.tensors(file, "")


def pipeline(family: str, scheduler: str = "ddim", **more: Any) -> Any:
    """The pipeline of a random model, on copies of its modules: it changes them."""
    found = {name: copy.deepcopy(part) for name, part in parts(f"random:{family}").items() if name != "encoder"}
    found["scheduler"] = oracle.scheduler(SimpleNamespace(scheduler=found["scheduler"]), scheduler, [3])
    if family == "sdxl":
        found["add_watermarker"] = False
    else:
        found |= {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
    made = getattr(diffusers, PIPELINES[family])(**{**found, **more})
    made.set_progress_bar_config(disable=True)
    return made


def latents(made: Any, seeds: tuple[int, ...] = (3,), prompt: str = PROMPT, **settings: Any) -> torch.Tensor:
    """What the pipeline makes."""
    found: torch.Tensor = made(
        [prompt] * len(seeds), negative_prompt=[NEGATIVE] * len(seeds), num_inference_steps=STEPS, guidance_scale=7.5,
        generator=oracle.generators(seeds), output_type="latent", **settings,
    ).images  # fmt: skip
    return found


def difference(ours: Workflow, family: str, expected: torch.Tensor, **inputs: Any) -> float:
    """Of a workflow's latents from those of the pipeline."""
    settings = {"prompt": PROMPT, "scheduler": "ddim", "seed": 3, **inputs}
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(
            ours, model=f"random:{family}", negative_prompt=NEGATIVE, steps=STEPS, guidance_scale=7.5, **settings
        ).latents.samples
    assert torch.isfinite(expected).all()
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def one_lora(family: str, scheduler: str, name: str, weight: float, seeds: tuple[int, ...] = (3,)) -> float:
    """Of the shipped workflow from the pipeline with one LoRA."""
    made = pipeline(family, scheduler)
    made.load_lora_weights(content(lora.read(f"random:{name}")), adapter_name="first")
    made.set_adapters(["first"], [weight])
    return difference(
        workflow("lora"), family, latents(made, seeds), scheduler=scheduler, lora=f"random:{name}", lora_weight=weight,
        batch_size=len(seeds),
    )  # fmt: skip


def two_loras(family: str, names: tuple[str, str], strengths: tuple[float, float]) -> float:
    """Of the shipped workflow with a second LoRA behind the first from the pipeline with both."""
    made = pipeline(family)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # peft, of any second LoRA
        for name in names:
            made.load_lora_weights(content(lora.read(f"random:{name}")), adapter_name=name)
    made.set_adapters(list(names), list(strengths))
    ours = _changed("lora", second={
        "type": "load_lora",
        "inputs": {
            "path": f"random:{names[1]}", "unet": {"from": "lora.unet"}, "text_encoder": {"from": "lora.text_encoder"},
            "weight": strengths[1],
        },
    }, instead={"lora.unet": "second.unet", "lora.text_encoder": "second.text_encoder"})  # fmt: skip
    return difference(ours, family, latents(made), lora=f"random:{names[0]}", lora_weight=strengths[0])


def learned_word(family: str, name: str, prompt: str, token: str = "") -> float:
    """Of the shipped workflow from the pipeline with a textual inversion."""
    made = pipeline(family)
    held = content(textual_inversion.read(f"random:{name}"))
    if family == "sdxl":
        for key, number in (("clip_l", ""), ("clip_g", "_2")):
            made.load_textual_inversion(
                held[key], token=token, tokenizer=getattr(made, f"tokenizer{number}"),
                text_encoder=getattr(made, f"text_encoder{number}"),
            )  # fmt: skip
    else:
        made.load_textual_inversion(held, token=token or None)
    expected = latents(made, prompt=prompt)
    return difference(
        workflow("textual_inversion"), family, expected, prompt=prompt, textual_inversion=f"random:{name}", token=token
    )


def picture(family: str, names: tuple[str, ...], scales: tuple[float, ...], *, embedded: bool = False) -> float:
    """Of the shipped workflow (with one more adapter) from the pipeline with an IP-Adapter.

    Args:
        embedded: Hand the pipeline the embedding rather than the picture.
    """
    with ExitStack() as opened:
        encoder = opened.enter_context(weights.use(load_image_encoder("random:image_encoder")))
    made = pipeline(
        family, image_encoder=encoder, feature_extractor=CLIPImageProcessorPil(size=32, crop_size=32),
    )  # fmt: skip
    states = []
    for name in names:
        held = content(ip_adapter.read(f"random:{name}"))
        states.append(
            {part: {key.removeprefix(f"{part}."): value for key, value in held.items() if key.startswith(part)}
             for part in ("image_proj", "ip_adapter")}
        )  # fmt: skip
    made.unet._load_ip_adapter_weights(states)
    made.set_ip_adapter_scale(list(scales))
    shown = Pillow.open(PICTURE).convert("RGB")
    if embedded:
        with torch.no_grad():
            given = made.prepare_ip_adapter_image_embeds([shown], None, "cpu", 1, True)
        expected = latents(made, ip_adapter_image_embeds=given)
    else:
        expected = latents(made, ip_adapter_image=[shown] * len(names))
    inputs = {"image": str(PICTURE), "ip_adapter": f"random:{names[0]}", "ip_adapter_scale": scales[0]}
    return difference(_with_adapters(names[1:], scales[1:]), family, expected, **inputs)


def _with_adapters(names: tuple[str, ...], scales: tuple[float, ...]) -> Workflow:
    """The shipped workflow with further adapters, each shown the same picture."""
    if not names:
        return workflow("ip_adapter")
    halves = ("text_and_picture", "negative_text_and_picture")
    extra: dict[str, Any] = {
        "second": {
            "type": "load_ip_adapter",
            "inputs": {"path": f"random:{names[0]}", "unet": {"from": "adapter"}, "scale": scales[0]},
        }
    }
    for half in halves:
        extra[f"{half}_again"] = {
            "type": "encode_image_embedding",
            "inputs": {
                "unet": {"from": "second"}, "image_encoder": {"from": "image_encoder"}, "image": {"from": "picture"},
                "conditioning": {"from": half}, "unconditional": half.startswith("negative"),
            },
        }  # fmt: skip
    return _changed("ip_adapter", instead={"adapter": "second", **{half: f"{half}_again" for half in halves}}, **extra)


def _changed(name: str, *, instead: dict[str, str], **nodes: dict[str, Any]) -> Workflow:
    """A shipped workflow with more nodes, and links of the others (`from`) that lead to them."""
    place = resources.workflow_folder() / f"{name}.json"
    data = json.loads(place.read_text(encoding="utf-8"))
    for call in data["nodes"].values():
        for port, value in call["inputs"].items():
            if isinstance(value, dict) and value.get("from") in instead:
                call["inputs"][port] = {"from": instead[value["from"]]}
    data["nodes"] |= nodes
    return Workflow.parse(json.dumps(data), place)


def _lora(case: str, family: str, scheduler: str, name: str, weight: float, **more: Any) -> Row:
    call = functools.partial(one_lora, family, scheduler, name, weight, **more)
    return Row("lora", family, scheduler, case, PIPELINES[family], call)


def _two(case: str, family: str, names: tuple[str, str], strengths: tuple[float, float]) -> Row:
    return Row("lora", family, "ddim", case, PIPELINES[family], functools.partial(two_loras, family, names, strengths))


def _word(case: str, family: str, name: str, prompt: str, token: str = "") -> Row:
    call = functools.partial(learned_word, family, name, prompt, token)
    return Row("textual_inversion", family, "ddim", case, PIPELINES[family], call)


def _picture(case: str, family: str, *adapters: tuple[str, float], **more: Any) -> Row:
    names, scales = zip(*adapters, strict=True)
    call = functools.partial(picture, family, names, scales, **more)
    return Row("ip_adapter", family, "ddim", case, PIPELINES[family], call)


ROWS = [
    _lora("LoRA, weight 1", "sd15", "ddim", "lora_sd15", 1.0),
    _lora("LoRA, weight -0.6", "sd15", "euler", "lora_sd15", -0.6),
    _lora("LoRA, weight 0", "sd15", "ddim", "lora_sd15", 0.0),
    _lora("kohya's LoRA, weight 0.8", "sd15", "dpmpp_2m", "lora_sd15_kohya", 0.8),
    _lora("LoRA, batch of 3", "sd15", "ddim", "lora_sd15", 0.7, seeds=(3, 4, 5)),
    _lora("LoRA, weight 0.7", "sdxl", "euler", "lora_sdxl", 0.7),
    _lora("kohya's LoRA, weight 0.8", "sdxl", "ddim", "lora_sdxl_kohya", 0.8),
    _two("two LoRAs, 0.7 and 0.4", "sd15", ("lora_sd15", "lora_sd15_kohya"), (0.7, 0.4)),
    _two("two LoRAs, 1 and -0.5", "sd15", ("lora_sd15_kohya", "lora_sd15"), (1.0, -0.5)),
    _two("two LoRAs, 0.7 and 0.4", "sdxl", ("lora_sdxl", "lora_sdxl_kohya"), (0.7, 0.4)),
    _word("two vectors", "sd15", "textual_inversion", "a <random> on the red <random>"),
    _word("two vectors, own word", "sd15", "textual_inversion", "the <mine>, a cat", "<mine>"),
    _word("two vectors for both encoders", "sdxl", "textual_inversion_sdxl", "a <mine> on the cat", "<mine>"),
    _picture("scale 0.5", "sd15", ("ip_adapter_sd15", 0.5)),
    _picture("scale 1", "sd15", ("ip_adapter_sd15", 1.0)),
    _picture("scale 0.5, embedding given", "sd15", ("ip_adapter_sd15", 0.5), embedded=True),
    _picture("Plus, scale 0.6", "sd15", ("ip_adapter_plus_sd15", 0.6)),
    _picture("two adapters, 0.5 and 0.8", "sd15", ("ip_adapter_sd15", 0.5), ("ip_adapter_plus_sd15", 0.8)),
    _picture("scale 0.5", "sdxl", ("ip_adapter_sdxl", 0.5)),
    _picture("scale 1", "sdxl", ("ip_adapter_sdxl", 1.0)),
]
