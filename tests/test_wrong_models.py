"""The wrong-model matrix: parts that do not belong together are found by `check`, in words that name the fix.

Each case is a shipped workflow with a link or a value replaced. Nothing is loaded: that torch is not even imported is a
test of its own, for the whole matrix.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graphcore import cli
from nodes import resources

FOLDER = resources.workflow_folder()

Json = dict[str, Any]


@dataclass(frozen=True)
class Wrong:
    """One wrong combination.

    Args:
        title: What is wrong.
        says: Words that one problem must hold: what was wanted, what came, what helps.
        base: The shipped workflow that is changed.
        inputs: Other defaults of its inputs.
        nodes: Nodes to add or to put in the place of others.
        links: `node.port`: the link (`node.output`) or the value to put there.
        outputs: Outputs instead of those of the workflow.
        files: Makes what lies beside the workflow.
    """

    title: str
    says: tuple[str, ...]
    base: str = "txt2img"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    nodes: Mapping[str, Json] = field(default_factory=dict)
    links: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    files: Callable[[Path], object] | None = None

    def document(self) -> Json:
        made: Json = json.loads((FOLDER / f"{self.base}.json").read_text(encoding="utf-8"))
        for name, value in {"model": "random:sd15", **self.inputs}.items():
            made["inputs"][name]["default"] = value
        made["nodes"] |= copy.deepcopy(dict(self.nodes))
        for place, value in self.links.items():
            node, _, port = place.partition(".")
            made["nodes"][node].setdefault("inputs", {})[port] = _value(value)
        if self.outputs:
            made["outputs"] = {name: _link(link) for name, link in self.outputs.items()}
        return made

    def write(self, folder: Path) -> Path:
        """Make the file, with what a shipped workflow finds beside it; returns its path."""
        folder.mkdir(exist_ok=True)
        for beside in FOLDER.iterdir():
            shutil.copy(beside, folder / beside.name)
        if self.files is not None:
            self.files(folder)
        path = folder / "wrong.json"
        path.write_text(json.dumps(self.document(), indent=2), encoding="utf-8")
        return path


def _link(text: str) -> Json:
    return {"from": text}


def _value(value: Any) -> Any:
    return _link(value) if isinstance(value, Link) else value


class Link(str):
    """A link, where text would be a value."""

    __slots__ = ()


def node(type_: str, **inputs: Any) -> Json:
    return {"type": type_, "inputs": {port: _value(value) for port, value in inputs.items()}}


def model(path: str) -> Json:
    return node("load_model", path=path)


def text(owner: str, name: str = "said") -> dict[str, Json]:
    """A text encoded by the model that the node `owner` loads; the conditioning is the node `name`."""
    return {
        f"{name}_tokens": node("tokenize", tokenizer=Link(f"{owner}.tokenizer"), text="a cat"),
        name: node("encode_text", text_encoder=Link(f"{owner}.text_encoder"), tokens=Link(f"{name}_tokens")),
    }


def sizes(of: str, unet: str = "model.unet") -> dict[str, Json]:
    """SDXL's sizes for the conditioning `of`; the node `sized`."""
    return {"sized": node("add_sizes", unet=Link(unet), conditioning=Link(of), latents=Link("noise.noise"))}


def other(path: str) -> dict[str, Json]:
    """A second model, the node `other`."""
    return {"other": model(path)}


def prompted(conditioning: str) -> dict[str, Any]:
    """Links that give the loop this conditioning, both ways."""
    return {"denoise.positive": Link(conditioning), "denoise.negative": Link(conditioning)}


def picture(side: int) -> Callable[[Path], object]:
    """A picture of this width and height as `picture.png`."""

    def make(folder: Path) -> None:
        from PIL import Image

        Image.new("RGB", (side, side)).save(folder / "picture.png")

    return make


def model_folder(**changes: Any) -> Callable[[Path], object]:
    """The embedded model's folder as `model`, with files replaced (None: taken away, text: written)."""

    def make(folder: Path) -> None:
        shutil.copytree(resources.model_folder("emoji"), folder / "model")
        for name, content in changes.items():
            file = folder / "model" / name
            file.unlink() if file.is_file() else None
            if content is not None:
                file.write_text(content)

    return make


def safetensors(name: str, shapes: Mapping[str, list[int]]) -> Callable[[Path], object]:
    """A file of float32 zeros with these tensors."""

    def make(folder: Path) -> None:
        header, end = {}, 0
        for tensor, shape in shapes.items():
            start, end = end, end + 4 * math.prod(shape)
            header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))

    return make


UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"

MATRIX = [
    # -- text of another model
    Wrong(
        "SDXL text on an SD 1.5 UNet",
        ("a context (batch, tokens, 32)", "(1, 77, 72)", "trained together"),
        nodes={**other("random:sdxl"), **text("other")}, links=prompted("said"),
    ),
    Wrong(
        "SD 1.5 text on an SDXL UNet",
        ("a context (batch, tokens, 72)", "(1, 77, 32)", "trained together"),
        inputs={"model": "random:sdxl"}, nodes={**other("random:sd15"), **text("other")}, links=prompted("said"),
    ),
    Wrong(
        "SD 1.5 text with SDXL's sizes",
        ("pooled text (`vector`)", "SDXL's text encoders"),
        inputs={"model": "random:sdxl"}, nodes={**other("random:sd15"), **text("other"), **sizes("said")},
        links=prompted("sized"),
    ),
    Wrong(
        "SD 2 text on an SD 1.5 UNet",
        ("a context (batch, tokens, 32)", "(1, 77, 40)", "trained together"),
        nodes={**other("random:sd21"), **text("other")}, links=prompted("said"),
    ),
    Wrong(
        "SDXL refiner text on the base UNet",
        ("(1, 77, 40)", "a context (batch, tokens, 72)", "trained together"),
        inputs={"model": "random:sdxl"},
        nodes={**other("random:sdxl_refiner"), **text("other"), **sizes("said")}, links=prompted("sized"),
    ),
    Wrong(
        "refiner sizes on the base UNet",
        ("beside 5 time_ids", "`add_sizes`"),
        inputs={"model": "random:sdxl"},
        nodes={**other("random:sdxl_refiner"), **text("model"), **sizes("said", "other.unet")},
        links=prompted("sized"),
    ),
    Wrong(
        "SDXL without sizes",
        ("`time_ids`", "`add_sizes`"),
        inputs={"model": "random:sdxl"}, nodes=text("model"), links=prompted("said"),
    ),
    Wrong(
        "one tokenizer for SDXL's two text encoders",
        ("tokens for two text encoders", "tokens for one text encoder", "one `load_model`"),
        inputs={"model": "random:sdxl"}, nodes={**other("random:sd15"), **text("model"), **sizes("said")},
        links={**prompted("sized"), "said_tokens.tokenizer": Link("other.tokenizer")},
    ),
    Wrong(
        "BERT's tokens for CLIP",
        ("a CLIPTokenizer", "a BertTokenizer", "one `load_model`"),
        nodes={**other("random:ldm_text2img"), **text("model")},
        links={**prompted("said"), "said_tokens.tokenizer": Link("other.tokenizer")},
    ),
    Wrong(
        "a prompt for a model without a text encoder",
        ("a tokenizer", "class-conditional"),
        nodes={**other("random:ldm_class"), **text("other")}, links=prompted("said"),
    ),
    Wrong(
        "more layers left out than the text encoder has",
        ("at most 2", "clip_skip"),
        nodes=text("model"), links={**prompted("said"), "said.clip_skip": 9},
    ),
    # -- channels
    Wrong(
        "a 9-channel UNet without a mask",
        ("latents (batch, 9,", "this UNet wants 5 channels more", "inpainting"),
        inputs={"model": "random:sd15_inpaint"},
    ),
    Wrong(
        "masked picture for a 4-channel UNet",
        ("`concat` with 0 channels", "the UNet takes 4"),
        nodes={**text("model"),
               "photo": node("load_image", path="example.png"), "mask": node("load_mask", path="example.png"),
               "masked": node("encode_masked_image", vae=Link("model.vae"), image=Link("photo"), mask=Link("mask"),
                              generators=Link("generators")),
               "added": node("add_concat", conditioning=Link("said"), concat=Link("masked.concat"))},
        links=prompted("added"), inputs={"width": 64, "height": 64},
    ),
    Wrong(
        "a mask of another size than the picture",
        ("a mask of", "`resize_mask`"),
        base="inpaint", inputs={"model": "random:sd15_inpaint"}, files=picture(24),
        nodes={"small": node("load_mask", path="picture.png"), "photo": node("load_image", path="example.png"),
               "masked": node("encode_masked_image", vae=Link("model.vae"), image=Link("photo"), mask=Link("small"),
                              generators=Link("generators"))},
        outputs={"masked": "masked.concat"},
    ),
    Wrong(
        "latents of Stable Diffusion in a model on pixels",
        ("latents (batch, 3,", "`latent_space` and the `vae` of this UNet's model"),
        base="unconditional", inputs={"model": "random:ddpm"}, nodes=other("random:sd15"),
        links={"noise.space": Link("other.latent_space")},
    ),
    Wrong(
        "text for a UNet without cross-attention",
        ("without context", "no cross-attention"),
        nodes=other("random:ddpm"), links={"denoise.unet": Link("other.unet")},
    ),
    Wrong(
        "noise of another model's space",
        ("latents (batch, 4,", "`latent_space`"),
        nodes=other("random:ldm"), links={"noise.space": Link("other.latent_space")},
    ),
    # -- vectors
    Wrong(
        "a vector for a UNet that takes only text",
        ("without `vector`", "takes only a context"),
        nodes={**other("random:fmri"), "voxels": node("load_fmri", path="random:64"),
               "said": node("encode_fmri", encoder=Link("other.encoder"), voxels=Link("voxels"))},
        links=prompted("said"),
    ),
    Wrong(
        "text for a UNet that wants a vector",
        ("`vector` ((batch, 32))", "class-conditional"),
        nodes={**other("random:fmri"), **text("model")},
        links={**prompted("said"), "denoise.unet": Link("other.unet"), "noise.space": Link("other.latent_space")},
    ),
    # -- predictions and schedules
    Wrong(
        "a model of v with a schedule for noise",
        ("prediction of type epsilon", "v_prediction", "from one model"),
        inputs={"model": "random:sd21"}, nodes=other("random:sd15"),
        links={"schedule.scheduler": Link("other.scheduler")},
    ),
    Wrong(
        "a model of noise with a schedule for v",
        ("prediction of type v_prediction", "epsilon", "from one model"),
        nodes=other("random:sd21"), links={"schedule.scheduler": Link("other.scheduler")},
    ),
    Wrong(
        "a scheduler of learned variance for a UNet without one",
        ("variance", "from one model"),
        nodes=other("random:improved_ddpm"), links={"schedule.scheduler": Link("other.scheduler")},
    ),
    Wrong(
        "more steps than the scheduler has",
        ("at most 50", "steps", "60"),
        inputs={"steps": 60, "scheduler": "lcm"},
    ),
    Wrong(
        "a strength without a picture",
        ("the latents of a picture", "`vae_encode`", "`strength` to 1"),
        links={"schedule.strength": 0.5},
    ),
    Wrong(
        "a strength that leaves no step",
        ("so that of 2 steps one is left", "raise `strength` or `steps`"),
        base="img2img", inputs={"strength": 0.1, "steps": 2},
    ),
    Wrong(
        "generators of another batch",
        ("generators for 1 images", "`batch_size`"),
        nodes={"pair": node("seed_generators", seed=0, batch_size=2)}, links={"schedule.generators": Link("pair")},
    ),
    Wrong(
        "a sampler that draws noise, without generators",
        ("random generators", "`init_noise`"),
        inputs={"scheduler": "euler_ancestral"}, links={"schedule.generators": None},
    ),
    # -- autoencoders and sizes
    Wrong(
        "the VAE of another family, by its scaling",
        ("scaling_factor 0.13025", "0.18215", "must come from one model"),
        nodes=other("random:sdxl"), links={"image.vae": Link("other.vae")},
    ),
    Wrong(
        "the VAE of another family, by its channels",
        ("(batch, 3, height, width)", "must come from one model"),
        nodes=other("random:ldm_class"), links={"image.vae": Link("other.vae")},
    ),
    Wrong(
        "the VAE of another family, by its downsampling",
        ("downsampling 8", "must come from one model"),
        nodes=other("random:ldm_text2img"), links={"image.vae": Link("other.vae")},
    ),
    Wrong(
        "a model on pixels to decode latents",
        ("must come from one model",),
        nodes=other("random:ddpm"), links={"image.vae": Link("other.vae")},
    ),
    Wrong(
        "a picture size that the VAE cannot divide",
        ("a multiple of 2", "write 32 or 34"),
        inputs={"width": 33},
    ),
    Wrong(
        "a picture to start from of another size than the noise",
        ("the shape of the noise", "original"),
        base="img2img", files=picture(24), inputs={"width": 32, "height": 32},
        nodes={"small": node("load_image", path="picture.png"),
               "encoded": node("vae_encode", vae=Link("model.vae"), image=Link("small"),
                               generators=Link("generators"))},
        links={"start.original": Link("encoded.latents")},
    ),
    Wrong(
        "a picture encoded by the VAE of another family",
        ("the noise's space, with scaling_factor 0.18215", "scaling_factor 0.13025", "the UNet's model"),
        base="img2img", nodes=other("random:sdxl"),
        links={"original.vae": Link("other.vae"), "image.vae": Link("other.vae")},
    ),
    # -- adapters
    Wrong(
        "a LoRA of another family",
        ("one for a context of 72", "only the family"),
        nodes={"lora": node("load_lora", path="random:lora_sdxl", unet=Link("model.unet"),
                            text_encoder=Link("model.text_encoder"))},
        links={"denoise.unet": Link("lora.unet")},
    ),
    Wrong(
        "a textual inversion of another width",
        ("vectors of width 32", "(1, 40)", "another model"),
        nodes={"taught": node("load_textual_inversion", path="random:textual_inversion_sd21",
                              tokenizer=Link("model.tokenizer"), text_encoder=Link("model.text_encoder")),
               **text("taught")},
        links=prompted("said"),
    ),
    Wrong(
        "an IP-Adapter of another family",
        ("an IP-Adapter for a context of 32", "one for 72", "only the family"),
        nodes={"adapter": node("load_ip_adapter", path="random:ip_adapter_sdxl", unet=Link("model.unet"))},
        links={"denoise.unet": Link("adapter")},
    ),
    Wrong(
        "an IP-Adapter without a picture",
        ("1 `image_embeds`", "`encode_image_embedding`"),
        nodes={"adapter": node("load_ip_adapter", path="random:ip_adapter_sd15", unet=Link("model.unet"))},
        links={"denoise.unet": Link("adapter")},
    ),
    Wrong(
        "a LoRA in the place of an IP-Adapter",
        ("an IP-Adapter", "`load_lora`"),
        nodes={"adapter": node("load_ip_adapter", path="lora.safetensors", unet=Link("model.unet"))},
        links={"denoise.unet": Link("adapter")}, files=safetensors("lora.safetensors", {"a.lora_A.weight": [1]}),
    ),
    Wrong(
        "a ControlNet of another family",
        ("a ControlNet for", "trained for this model's family"),
        base="controlnet", inputs={"model": "random:sd21"},
    ),
    Wrong(
        "a picture of another size for a ControlNet",
        ("a picture of 64 x 64 pixels", "`resize_image` makes 64 x 64"),
        base="controlnet", inputs={"width": 64, "height": 64}, links={"resized.width": 32, "resized.height": 32},
    ),
    Wrong(
        "a T2I-Adapter of another family",
        ("features of shape", "must fit this UNet"),
        base="t2i_adapter", inputs={"model": "builtin:emoji", "adapter": "random:t2i_adapter"},
    ),
    # -- encoders of other things
    Wrong(
        "the encoder of a class-conditional model for fMRI",
        ("an FmriEncoder", "a ClassEmbedder"),
        base="fmri", inputs={"model": "random:ldm_class"},
    ),
    Wrong(
        "the fMRI of another subject",
        ("at most 64", "the subject"),
        base="fmri", inputs={"model": "random:fmri", "fmri": "random:70", "training_fmri": "random:70"},
    ),
    Wrong(
        "an fMRI encoder of another width than the UNet",
        ("a context (batch, tokens, 40)", "(1, 77, 32)"),
        base="fmri", inputs={"model": "random:fmri"}, nodes=other("random:sd21"),
        links={"denoise.unet": Link("other.unet"), "noise.space": Link("other.latent_space")},
    ),
    Wrong(
        "a class that the model does not have",
        ("a class from 0 to 10", "99"),
        base="class_conditional", inputs={"model": "random:ldm_class", "class_id": 99},
    ),
    Wrong(
        "the encoder of a class-conditional model for a semantic map",
        ("SpatialRescaler", "ClassEmbedder"),
        base="semantic_map", inputs={"model": "random:ldm_class"},
    ),
    Wrong(
        "super-resolution without its picture",
        ("latents (batch, 6,", "3 channels more", "the small picture"),
        base="super_resolution", inputs={"model": "random:ldm_super_resolution"},
        nodes={"nothing": node("empty_conditioning")}, links=prompted("nothing"),
    ),
    Wrong(
        "a schedule that begins with noise alone for a model of epsilon",
        ("a model that predicts v or the sample", "one that predicts epsilon", "`rescale_betas_zero_snr`"),
        inputs={"model": "random:sd21_zero_snr"}, links={"model.prediction_type": "epsilon"},
    ),
    Wrong(
        "a text-to-image model in the place of the x4 upscaler",
        ("a scheduler that noises small pictures", "such as the Stable Diffusion x4 upscaler"),
        base="upscale", inputs={"model": "random:sd21"},
    ),
    Wrong(
        "the x4 upscaler in the place of a text-to-image model",
        ("a conditioning with `vector`", "its noise level"),
        inputs={"model": "random:sd_x4_upscaler"},
    ),
    Wrong(
        "the x4 upscaler without its picture",
        ("latents (batch, 7,", "3 channels more", "the small picture"),
        base="upscale", inputs={"model": "random:sd_x4_upscaler"}, links=prompted("level"),
    ),
    Wrong(
        "more noise than the x4 upscaler was trained with",
        ("at most 350", "got 400"),
        base="upscale", inputs={"model": "random:sd_x4_upscaler"}, links={"noised.noise_level": 400},
    ),
    Wrong(
        "a conditioning that another model saved",
        ("a context (batch, tokens, 32)", "trained together"),
        base="conditioning_switch", inputs={"encoder": "saved"},
    ),
    Wrong(
        "a classifier of latents for a model on pixels",
        ("what this classifier reads, (batch, 4,", "trained for this model"),
        base="classifier_guidance", inputs={"model": "random:ddpm", "classifier": "random:classifier_latent"},
    ),
    Wrong(
        "the tiny VAE of another family",
        ("(batch, 4, height, width)", "must come from one model"),
        base="class_conditional", inputs={"model": "random:ldm_class"},
        nodes={"tiny": node("load_vae", path="random:taesd")}, links={"image.vae": Link("tiny")},
    ),
    # -- files
    Wrong("an unknown random model", ("sd15", "'sd99'"), inputs={"model": "random:sd99"}),
    Wrong("an unknown embedded model", ("`builtin:emoji`", "did you mean"), inputs={"model": "builtin:emojy"}),
    Wrong(
        "a LoRA in the place of a model",
        ("holds a LoRA", "`load_lora` reads it"),
        inputs={"model": "lora.safetensors"}, files=safetensors("lora.safetensors", {"a.lora_A.weight": [1]}),
    ),
    Wrong(
        "a name on the Hub, offline",
        ("in the cache of the hub", "hf download nobody/nothing"),
        inputs={"model": "nobody/nothing"},
    ),
    Wrong("a model that is not there", ("does not exist",), inputs={"model": "nowhere"}),
    Wrong(
        "a pickled checkpoint",
        ("pickled weights are never opened",),
        inputs={"model": "model.ckpt"}, files=lambda folder: (folder / "model.ckpt").write_bytes(b"\x80"),
    ),
    Wrong(
        "pickled weights in a folder",
        ("pickled weights are never opened", "weights_only=True"),
        inputs={"model": "model"},
        files=model_folder(**{UNET_WEIGHTS: None, "unet/diffusion_pytorch_model.bin": "x"}),
    ),
    Wrong(
        "a model with a file missing",
        ("`diffusion_pytorch_model.safetensors`", "copy the model anew"),
        inputs={"model": "model"}, files=model_folder(**{UNET_WEIGHTS: None}),
    ),
    Wrong(
        "weights that a download cut short",
        ("whole weights", "copy this file anew"),
        inputs={"model": "model"}, files=model_folder(**{UNET_WEIGHTS: "half"}),
    ),
    Wrong(
        "one part in the place of a model",
        ("one part of a model", "the folder above"),
        inputs={"model": "model/unet"}, files=model_folder(),
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # it was read when the tests were imported


def test_there_are_thirty_at_least() -> None:
    assert len(MATRIX) >= 30
    assert len({wrong.title for wrong in MATRIX}) == len(MATRIX)


@pytest.mark.parametrize("wrong", MATRIX, ids=lambda wrong: wrong.title)
def test_check_names_it_and_what_helps(wrong: Wrong, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["check", str(wrong.write(tmp_path / "work")), "--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert code == 1
    said = [" ".join(str(part) for part in problem.values()) for problem in problems]
    assert any(all(words in one for words in wrong.says) for one in said), "\n".join(said)
    assert all(problem["code"] == "model" for problem in problems), "wrong only in this"
    assert all(problem["line"] for problem in problems)


@pytest.mark.parametrize("base", sorted({wrong.base for wrong in MATRIX}))
def test_what_is_made_wrong_was_right(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(FOLDER / f"{base}.json")]) == 0
    assert "no problems" in capsys.readouterr().out


def test_nothing_is_loaded_for_the_whole_matrix(tmp_path: Path) -> None:
    files = [str(wrong.write(tmp_path / str(number))) for number, wrong in enumerate(MATRIX)]
    code = (
        "import sys; from graphcore import cli; codes = [cli.main(['check', file]) for file in sys.argv[1:]]; "
        "print(set(codes), [name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "{1} []", done.stderr
