"""LoRA: peft's and diffusers' own loading, the algebra of low rank, and refusals before anything loads."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from graphcore import InputError, StepgraphError
from graphcore.check import checker
from nodes import load_lora, load_model
from nodes.models import loading
from nodes.models.adapters import layers, lora, lora_names
from nodes.models.files import adapter_file
from nodes.models.files.adapter_file import AdapterFile
from nodes.models.handles import identity, settings
from nodes.models.memory import weights
from nodes.types import ModelHandle, UNetModel
from tests.nodes.models.files.published import SD, SD2, XL
from tests.parity import sd15
from tests.parity.rows.adapters import content, pipeline
from tests.parity.shipped import REGISTRY, workflow

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"


def named(file: str) -> dict[str, torch.Tensor]:
    return content(lora.read(file))


def predicted(handle: ModelHandle) -> torch.Tensor:
    """What a UNet says about fixed noise, or a text encoder about fixed tokens."""
    generator = torch.Generator().manual_seed(0)
    width = settings(handle.config).get("cross_attention_dim", 32)
    latents = torch.randn(2, 4, 16, 16, generator=generator)
    context = torch.randn(2, 77, width, generator=generator)
    with weights.use(handle) as module, torch.no_grad():
        if isinstance(handle, UNetModel):
            found: torch.Tensor = module(latents, 5, context)[0]
        else:
            found = module(torch.arange(77)[None])[0]
    return found


def written(folder: Path, tensors: dict[str, torch.Tensor], name: str = "lora.safetensors", **metadata: str) -> str:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name, metadata=metadata or None)
    return str(folder / name)


# -- the table of layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SD, SD2, XL], ids=["sd15", "sd21", "sdxl"])
def test_the_layers_are_those_of_the_published_unets(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        module = UNet2DConditionModel(**config)
    found = {
        name: tuple(layer.weight.shape[:2])
        for name, layer in module.named_modules()
        if ".attentions." in name and isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert layers.unet(config) == found
    crossed = [name.removesuffix(".processor") for name in module.attn_processors if "attn2" in name]
    assert layers.cross_attentions(config) == crossed


def test_the_layers_are_those_of_clip() -> None:
    with torch.device("meta"):
        module = CLIPTextModel(CLIPTextConfig(**sd15.TEXT))
    found = {
        f"text_model.{name}": tuple(layer.weight.shape)
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }
    assert layers.text_encoder(sd15.TEXT) == found


def test_original_names_are_those_that_diffusers_maps() -> None:
    with torch.device("meta"):
        config = UNet2DConditionModel(**XL).config
    for ours, original in layers.original_names(XL).items():
        key = f"lora_unet_{original.replace('.', '_')}_proj_in"
        held = {f"{key}.lora_{side}.weight": torch.zeros(1) for side in ("down", "up")}
        found, _ = StableDiffusionXLLoraLoaderMixin.lora_state_dict(held, unet_config=config)
        assert list(found) == [f"unet.{ours}.proj_in.lora.{side}.weight" for side in ("down", "up")]


# -- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "scale"), [("lora_sd15", 1.0), ("lora_sd15_kohya", 2 / 4)])
def test_a_layer_gains_the_product_of_the_matrices(name: str, scale: float) -> None:
    """W + weight * (alpha / rank) * up @ down, by hand; alpha is 2 and the rank 4 in kohya's file."""
    model, held = load_model("random:sd15"), named(f"random:{name}")
    patched = load_lora(f"random:{name}", model.unet, model.text_encoder, 0.7).unet
    kohya = f"lora_unet_{LAYER.replace('.', '_')}"
    down = held.get(f"unet.{LAYER}.lora_A.weight", held.get(f"{kohya}.lora_down.weight"))
    up = held.get(f"unet.{LAYER}.lora_B.weight", held.get(f"{kohya}.lora_up.weight"))
    assert down is not None
    assert up is not None
    given = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    with weights.use(model.unet) as base, weights.use(patched) as module, torch.no_grad():
        expected = given @ (base.get_submodule(LAYER).weight + 0.7 * scale * up @ down).T
        found = module.get_submodule(LAYER)(given)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["random:sd15", "random:sdxl"])
def test_the_base_stays_as_it_is_and_shares_its_weights(name: str) -> None:
    model = load_model(name)
    with weights.use(model.unet) as base:
        before = {key: value.clone() for key, value in base.state_dict().items()}
    adapted = load_lora(name.replace(":", ":lora_"), model.unet, model.text_encoder)
    with weights.use(adapted.unet) as module, weights.use(model.unet) as base:
        after = base.state_dict()
        assert after.keys() == before.keys()
        assert all(value.equal(before[key]) for key, value in after.items())
        held = {value.data_ptr() for value in module.state_dict().values()}
        assert {value.data_ptr() for value in after.values()} <= held
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_weight_zero_is_the_base_bit_for_bit() -> None:
    model = load_model("random:sd15")
    nothing = load_lora("random:lora_sd15", model.unet, model.text_encoder, 0.0)
    assert predicted(nothing.unet).equal(predicted(model.unet))
    assert predicted(nothing.text_encoder).equal(predicted(model.text_encoder))
    some = load_lora("random:lora_sd15", model.unet, model.text_encoder, 0.5)
    assert (predicted(some.unet) - predicted(model.unet)).abs().max() > 0.01


def test_text_encoders_may_have_a_weight_of_their_own() -> None:
    model = load_model("random:sdxl")
    adapted = load_lora("random:lora_sdxl", model.unet, model.text_encoder, 0.8, 0.0)
    full = load_lora("random:lora_sdxl", model.unet, model.text_encoder, 0.8)
    second, base, whole = adapted.text_encoder.second, model.text_encoder.second, full.text_encoder.second
    assert second is not None
    assert base is not None
    assert whole is not None
    assert identity(adapted.unet) == identity(full.unet)
    assert predicted(adapted.text_encoder).equal(predicted(model.text_encoder))
    assert predicted(second).equal(predicted(base))
    assert not predicted(whole).equal(predicted(base))


def test_a_lora_without_text_leaves_the_text_encoder(tmp_path: Path) -> None:
    held = {key: value for key, value in named("random:lora_sd15").items() if key.startswith("unet.")}
    model = load_model("random:sd15")
    adapted = load_lora(written(tmp_path, held), model.unet, model.text_encoder)
    assert adapted.text_encoder is model.text_encoder
    assert adapted.unet.patches


def test_the_weight_is_part_of_the_value_and_the_place_of_the_file_is_not(tmp_path: Path) -> None:
    model = load_model("random:sd15")
    file = written(tmp_path, named("random:lora_sd15"))
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other", named("random:lora_sd15"), "renamed.safetensors")
    assert lora.fingerprint(file) == lora.fingerprint(other) != lora.fingerprint("random:lora_sd15_kohya")
    half, whole = (load_lora(file, model.unet, model.text_encoder, weight) for weight in (0.5, 1.0))
    assert identity(half.unet) != identity(whole.unet)
    assert predicted(whole.unet).equal(
        predicted(load_lora("random:lora_sd15", model.unet, model.text_encoder, 1.0).unet)
    )


def test_torchs_random_state_is_left_alone() -> None:
    model = load_model("random:sd15")
    adapted = load_lora("random:lora_sd15", model.unet, model.text_encoder, 0.123)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with weights.use(adapted.unet), weights.use(adapted.text_encoder):
        assert torch.get_rng_state().equal(before)


# -- files -----------------------------------------------------------------------------------------------------


def test_a_file_that_diffusers_wrote_with_its_settings(tmp_path: Path) -> None:
    """Alpha 8 at rank 4 stands in the header only; diffusers reads it there."""
    from peft import LoraConfig

    made = pipeline("sd15")
    torch.manual_seed(0)
    made.unet.add_adapter(LoraConfig(r=4, lora_alpha=8, init_lora_weights=False, target_modules=["to_k", "to_v"]))
    made.unet.save_lora_adapter(tmp_path)
    [file] = tmp_path.glob("*.safetensors")
    held = dict(safe_tensors(file))
    header = json.dumps({f"unet.{key}": value for key, value in json.loads(header_of(file)).items()})
    path = written(tmp_path, {f"unet.{key}": value for key, value in held.items()}, lora_adapter_metadata=header)
    oracle = pipeline("sd15")
    oracle.load_lora_weights(path, adapter_name="one")
    model = load_model("random:sd15")
    adapted = load_lora(path, model.unet, model.text_encoder)
    with weights.use(adapted.unet) as module:
        assert module.get_submodule(LAYER).scaling == {"lora_0": 2.0}
        assert run(module).equal(run(oracle.unet))
        assert (run(module) - run(made.unet)).abs().max() < 1e-6


def test_a_file_that_peft_wrote(tmp_path: Path) -> None:
    """`base_model.model.` in front of the names, the scale in adapter_config.json."""
    from peft import LoraConfig, get_peft_model

    unet = copy.deepcopy(pipeline("sd15").unet)
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=6, init_lora_weights=False, target_modules=["to_q", "to_out.0"])
    wrapped = get_peft_model(unet, config)
    wrapped.save_pretrained(tmp_path)
    model = load_model("random:sd15")
    adapted = load_lora(str(tmp_path), model.unet, model.text_encoder)
    assert adapted.text_encoder is model.text_encoder
    with weights.use(adapted.unet) as module:
        assert run(module).equal(run(wrapped))
    (tmp_path / "adapter_config.json").write_text(
        (tmp_path / "adapter_config.json").read_text().replace('"lora_alpha": 6', '"lora_alpha": 12')
    )
    other = load_lora(str(tmp_path), model.unet, model.text_encoder)
    assert identity(other.unet) != identity(adapted.unet)
    with weights.use(other.unet) as module:
        assert not run(module).equal(run(wrapped))


def test_old_names_of_attention_processors() -> None:
    held = {
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.down.weight": (4, 16),
        "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.up.weight": (32, 4),
    }
    first, second = lora_names.tensors(AdapterFile("x", held))
    assert first.layer == "mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0"
    assert second.layer == "encoder_layers_0_self_attn_q_proj"


def run(module: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        found: torch.Tensor = module(
            torch.randn(1, 4, 16, 16, generator=generator), 7, torch.randn(1, 77, 32, generator=generator)
        )[0]
    return found


def safe_tensors(file: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(file).items()


def header_of(file: Path) -> str:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return str(opened.metadata()["lora_adapter_metadata"])


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model", "words"),
    [
        ("lora_sdxl", "sd15", "context of 72"),
        ("lora_sdxl_kohya", "sd15", "context of 72"),
        ("lora_sd15", "sdxl", "context of 32"),
        ("lora_sd15_kohya", "sd21", "context of 32"),
        ("lora_sd15", "ddpm", "a UNet with cross-attention"),
    ],
)
def test_a_lora_of_another_family_is_refused_by_its_header(name: str, model: str, words: str) -> None:
    found = loading.infer(f"random:{model}")
    assert found is not None
    with pytest.raises(InputError, match=words):
        lora.infer(f"random:{name}", found.unet, found.text_encoder)
    with pytest.raises(InputError, match=words):
        load_lora(f"random:{name}", found.unet, found.text_encoder)


def test_the_checker_refuses_it_before_anything_runs() -> None:
    problems = checker.check(workflow("lora"), REGISTRY) + checker.check_inputs(workflow("lora"), {})
    assert problems == []
    wrong = replace(workflow("lora"), inputs={
        **workflow("lora").inputs, "model": replace(workflow("lora").inputs["model"], default="random:sdxl")
    })  # fmt: skip
    [problem] = checker.check(wrong, REGISTRY)
    assert (problem.node, problem.port) == ("lora", "path")
    assert "72" in problem.expected
    assert "another LoRA" in problem.fix


@pytest.mark.parametrize(
    ("config", "other", "families"),
    [
        (SD, XL, ("Stable Diffusion 1", "Stable Diffusion XL")),
        (SD2, SD, ("Stable Diffusion 2", "Stable Diffusion 1")),
    ],
)
def test_published_families_are_named(config: Any, other: Any, families: tuple[str, str]) -> None:
    unet = UNetModel("", "UNet2DConditionModel", json.dumps(config), "", "cpu", "float32")
    shapes = {
        f"lora_unet_{name.replace('.', '_')}.lora_down.weight": (8, size[1])
        for name, size in layers.unet(other).items()
    }
    with pytest.raises(InputError) as caught:
        lora_names.check(lora_names.tensors(AdapterFile("x", shapes)), unet, None)
    assert families[0] in caught.value.expected
    assert families[1] in caught.value.got
    fitting = {name: (8, size[1]) for name, size in _kohya(config).items()}
    lora_names.check(lora_names.tensors(AdapterFile("x", fitting)), unet, None)


def _kohya(config: Any) -> dict[str, Any]:
    return {f"lora_unet_{name.replace('.', '_')}.lora_down.weight": size for name, size in layers.unet(config).items()}


TE = "text_encoder.text_model.encoder.layers"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "without tensors"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "checkpoint"),
        ({"lora_unet_mid_block_x.lokr_w1": (4, 4)}, "LoKr"),
        ({"lora_unet_mid_block_x.hada_w1_a": (4, 4)}, "LoHa"),
        ({"lora_unet_mid_block_x.dora_scale": (4,)}, "DoRA"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_X.weight": (4, 4)}, "another kind"),
        ({"unet.down_blocks.7.attentions.0.proj_in.lora_A.weight": (4, 8)}, "does not have"),
        ({f"unet.{LAYER}.lora_B.weight": (17, 4)}, "16 channels"),
        ({f"{TE}.0.self_attn.q_proj.lora_A.weight": (4, 33)}, "32 channels"),
        ({f"{TE}.5.self_attn.q_proj.lora_A.weight": (4, 32)}, "does not have"),
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 32)}, "second text encoder"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    model = loading.infer("random:sd15")
    assert model is not None
    with pytest.raises(InputError, match=words):
        lora_names.check(lora_names.tensors(AdapterFile("x", shapes)), model.unet, model.text_encoder)


def test_layers_that_only_the_module_knows_are_not_lost_silently(tmp_path: Path) -> None:
    model = load_model("random:sd15")
    held = {"unet.down_blocks.0.resnets.7.conv1.lora_A.weight": torch.zeros(4, 8, 3, 3),
            "unet.down_blocks.0.resnets.7.conv1.lora_B.weight": torch.zeros(8, 4, 1, 1),
            **{key: value for key, value in named("random:lora_sd15").items() if LAYER in key}}  # fmt: skip
    adapted = load_lora(written(tmp_path, held), model.unet, model.text_encoder)
    with pytest.raises(StepgraphError, match="2 layers of which"), weights.use(adapted.unet):
        pass


@pytest.mark.parametrize("ending", [".bin", ".pt", ".ckpt"])
def test_pickles_are_never_opened(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"lora{ending}").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match=r"never opened.*weights_only=True"):
        lora.infer(str(tmp_path / f"lora{ending}"))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        lora.infer(str(tmp_path / "nothing.safetensors"))
    with pytest.raises(InputError, match="folder with nothing"):
        lora.infer(str(tmp_path))
    with pytest.raises(InputError, match="one of lora_sd15"):
        lora.infer("random:lora_sd16")
    whole = Path(written(tmp_path, named("random:lora_sd15"))).read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[:-100])
    with pytest.raises(InputError, match="copy this file anew"):
        lora.infer(str(tmp_path / "half.safetensors"))


def test_a_file_that_changes_while_the_workflow_runs(tmp_path: Path) -> None:
    model = load_model("random:sd15")
    path = written(tmp_path, named("random:lora_sd15"))
    adapted = load_lora(path, model.unet, model.text_encoder, 0.321)
    written(tmp_path, {key: value + 1 for key, value in named("random:lora_sd15").items()})
    with pytest.raises(StepgraphError, match="changed while the workflow ran"), weights.use(adapted.unet):
        pass


def test_random_files_depend_on_the_name_alone() -> None:
    one, other = named("random:lora_sd15"), named("random:lora_sd15")
    assert all(one[key].equal(other[key]) for key in one)
    assert len({value.flatten()[0].item() for value in one.values()}) == len(one)
    file = lora.read("random:lora_sd15")
    assert adapter_file.tensors(file, file.digest()).keys() == one.keys()
