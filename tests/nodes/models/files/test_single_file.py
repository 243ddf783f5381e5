"""Checkpoints in one file with original key names: what the header tells, and that weights come out as they went in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from graphcore import Engine, InputError, StepgraphError
from nodes import load_model, load_vae
from nodes.models import classes, loading, random_models
from nodes.models.files import architecture, clip_tokenizer, single_file
from nodes.models.handles import settings
from nodes.models.memory import weights
from tests.nodes.models.files import ldm_names, published
from tests.parity import oracle
from tests.parity.shipped import REGISTRY, workflow

Tensors = dict[str, torch.Tensor]
Module = tuple[str, dict[str, Any]]


def _unet(**changes: Any) -> Module:
    """Four levels, as Stable Diffusion 1 has them; 32 groups, as no shape tells another number."""
    levels = {
        "block_out_channels": [32, 64, 64, 64], "layers_per_block": 2, "attention_head_dim": 8, "norm_num_groups": 32,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "cross_attention_dim": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    }  # fmt: skip
    return random_models.unet(**{**levels, **changes})


def _xl_unet(**changes: Any) -> Module:
    levels = {
        "block_out_channels": [64, 64, 128], "layers_per_block": 1, "norm_num_groups": 32,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 3], "use_linear_projection": True, "attention_head_dim": [1, 1, 2],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "cross_attention_dim": 192,
        "projection_class_embeddings_input_dim": 128 + 6 * 256,
    }  # fmt: skip
    return random_models.unet(**{**levels, **changes})


def _text(width: int, **changes: Any) -> Module:
    sizes = {"vocab_size": 49408, "num_attention_heads": width // 64, "bos_token_id": 0, "eos_token_id": 2}
    return random_models.text_encoder(width, **{**sizes, **changes})


OPEN = {"hidden_act": "gelu"}
VAE = random_models.vae(block_out_channels=[32, 64], norm_num_groups=32, layers_per_block=2)
SHAPES: dict[str, dict[str, Module]] = {
    "sd1": {"unet": _unet(), "vae": VAE, "text_encoder": _text(64)},
    "sd1_inpaint": {"unet": _unet(in_channels=9), "vae": VAE, "text_encoder": _text(64)},
    "sd2": {
        "unet": _unet(block_out_channels=[64, 64, 128, 128], attention_head_dim=[1, 1, 2, 2],
                      use_linear_projection=True, upcast_attention=True),
        "vae": VAE, "text_encoder": _text(64, **OPEN),
    },
    "sd_x4_upscaler": {
        "unet": _unet(in_channels=7, num_class_embeds=1000, block_out_channels=[32, 64, 64, 128],
                      cross_attention_dim=128, use_linear_projection=True,
                      down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3,
                      up_block_types=["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
                      only_cross_attention=[True, True, True, False]),
        "vae": random_models.vae(block_out_channels=[32, 32, 64], norm_num_groups=32, layers_per_block=2,
                                 down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3),
        "text_encoder": _text(128, **OPEN),
    },
    "sdxl": {
        "unet": _xl_unet(), "vae": VAE, "text_encoder": _text(64),
        "text_encoder_2": _text(128, projection=True, **OPEN),
    },
    "sdxl_refiner": {
        "unet": _xl_unet(cross_attention_dim=128, projection_class_embeddings_input_dim=128 + 5 * 256), "vae": VAE,
        "text_encoder_2": _text(128, projection=True, **OPEN),
    },
}  # fmt: skip


def _modules(family: str) -> dict[str, torch.nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return {name: classes.build(*part).eval() for name, part in SHAPES[family].items()}


def _named(family: str, modules: Mapping[str, torch.nn.Module]) -> Tensors:
    """All tensors of a checkpoint, with original names."""
    config = SHAPES[family]["unet"][1]
    state = {name: module.state_dict() for name, module in modules.items()}
    named = ldm_names.unet(state["unet"], len(config["block_out_channels"]), config["layers_per_block"])
    named |= ldm_names.vae(state["vae"], len(SHAPES[family]["vae"][1]["block_out_channels"]))
    if family.startswith("sdxl"):
        if "text_encoder" in state:
            named |= ldm_names.clip(state["text_encoder"], "conditioner.embedders.0.transformer.")
        number = 1 if "text_encoder" in state else 0
        return named | ldm_names.open_clip(state["text_encoder_2"], f"conditioner.embedders.{number}.model.")
    if family in ("sd2", "sd_x4_upscaler"):
        return named | ldm_names.open_clip(state["text_encoder"], "cond_stage_model.model.")
    return named | ldm_names.clip(state["text_encoder"])


def _write(tensors: Tensors, file: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`checkpoint("sd1")` gives modules and the file that holds them under original names."""
    made: dict[str, tuple[dict[str, torch.nn.Module], Path]] = {}

    def make(family: str) -> tuple[dict[str, torch.nn.Module], Path]:
        if family not in made:
            modules = _modules(family)
            file = tmp_path_factory.mktemp("checkpoint") / f"{family}.safetensors"
            made[family] = modules, _write(_named(family, modules), file)
        return made[family]

    return make


def _handles(model: Any) -> dict[str, Any]:
    first, second = model.text_encoder, model.text_encoder.second
    if second is None and first.class_name == "CLIPTextModelWithProjection":
        first, second = None, first
    found = {"unet": model.unet, "vae": model.vae, "text_encoder": first, "text_encoder_2": second}
    return {name: handle for name, handle in found.items() if handle is not None}


@pytest.mark.parametrize("family", SHAPES)
def test_what_was_written_is_read(checkpoint: Any, family: str) -> None:
    """Every weight, bit for bit, and the outputs too: the settings that no weight shows are right."""
    modules, file = checkpoint(family)
    model = load_model(str(file))
    handles = _handles(model)
    assert set(handles) == set(modules)
    for name, module in modules.items():
        with weights.use(handles[name]) as found, torch.no_grad():
            state = module.state_dict()
            assert found.state_dict().keys() == state.keys()
            assert all(value.equal(state[key]) for key, value in found.state_dict().items())
            for expected, given in zip(_outputs(name, module), _outputs(name, found), strict=True):
                assert torch.equal(expected, given)


def _outputs(name: str, module: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    if name == "vae":
        return [module.decode(torch.randn(1, 4, 8, 8, generator=generator)).sample]
    if name.startswith("text_encoder"):
        found = module(torch.randint(0, 49408, (2, 77), generator=generator))
        return [found[0], found.last_hidden_state]
    config = module.config
    latents = torch.randn(1, config.in_channels, 16, 16, generator=generator)
    context = torch.randn(1, 7, config.cross_attention_dim, generator=generator)
    more: dict[str, Any] = {"class_labels": torch.tensor([20])} if config.num_class_embeds else {}
    if config.addition_embed_type:
        numbers = (config.projection_class_embeddings_input_dim - 128) // 256
        ids = torch.randn(1, numbers, generator=generator)
        more["added_cond_kwargs"] = {"text_embeds": torch.randn(1, 128, generator=generator), "time_ids": ids}
    return [module(latents, 500, context, **more).sample]


@pytest.mark.parametrize(
    ("family", "title", "scheduler", "prediction", "size", "scaling"),
    [
        ("sd1", "sd", "PNDMScheduler", "epsilon", 64, 0.18215),
        ("sd1_inpaint", "sd_inpaint", "PNDMScheduler", "epsilon", 64, 0.18215),
        ("sd2", "sd", "DDIMScheduler", "v_prediction", 96, 0.18215),
        ("sd_x4_upscaler", "sd_x4_upscaler", "DDIMScheduler", "v_prediction", 128, 0.08333),
        ("sdxl", "sdxl", "EulerDiscreteScheduler", "epsilon", 128, 0.13025),
        ("sdxl_refiner", "sdxl_refiner", "EulerDiscreteScheduler", "epsilon", 128, 0.13025),
    ],
)  # fmt: skip
def test_the_header_tells_the_family(
    checkpoint: Any, family: str, title: str, scheduler: str, prediction: str, size: int, scaling: float
) -> None:
    model = loading.infer(str(checkpoint(family)[1]))
    assert model is not None
    assert (model.unet.family, model.scheduler.class_name) == (title, scheduler)
    assert settings(model.scheduler.config)["prediction_type"] == prediction
    assert settings(model.unet.config)["prediction_type"] == prediction
    assert (model.latent_space.sample_size, model.latent_space.scaling_factor) == (size, scaling)
    assert model.unet.digest == ""
    assert bool(model.low_res_scheduler.class_name) == (family == "sd_x4_upscaler")


def test_txt2img_equals_the_pipeline_of_diffusers(checkpoint: Any) -> None:
    """The whole way: a checkpoint in one file, without a tokenizer or a scheduler, through the shipped workflow."""
    modules, file = checkpoint("sd1")
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    tool = clip_tokenizer.make(clip_tokenizer.part().config)
    pipeline = SimpleNamespace(**modules, scheduler=scheduler, tokenizer=tool)
    expected = oracle.txt2img(
        pipeline, "a cat", seeds=[3], num_inference_steps=3, guidance_scale=7.5, width=32, height=32
    )
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(
            workflow("txt2img"), model=str(file), prompt="a cat", seed=3, steps=3, guidance_scale=7.5, width=32,
            height=32, negative_prompt="", scheduler="default",
        )  # fmt: skip
    assert torch.equal(found.latents.samples, expected.steps[-1])
    assert torch.equal(found.image.pixels, expected.pixels)


def test_what_the_unet_predicts_can_be_said(checkpoint: Any, tmp_path: Path) -> None:
    modules, file = checkpoint("sd2")
    said = load_model(str(file), prediction_type="epsilon")
    assert settings(said.unet.config)["prediction_type"] == "epsilon"
    assert said.unet.digest == load_model(str(file)).unet.digest  # the same weights, held once
    assert loading.fingerprint(str(file), prediction_type="epsilon") != loading.fingerprint(str(file))
    tensors = {**_named("sd2", modules), "global_step": torch.tensor(875_000)}
    base = load_model(str(_write(tensors, tmp_path / "base.safetensors")))
    assert settings(base.scheduler.config)["prediction_type"] == "epsilon"
    tensors["global_step"] = torch.tensor(110_000)
    other = load_model(str(_write(tensors, tmp_path / "other.safetensors")))
    assert settings(other.scheduler.config)["prediction_type"] == "v_prediction"


def test_averaged_weights_and_trifles_are_left_alone(checkpoint: Any, tmp_path: Path) -> None:
    modules, _ = checkpoint("sd1")
    tensors = _named("sd1", modules)
    more = {f"model_ema.diffusion_model{n}": torch.zeros(2) for n in range(120)}
    more["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    more["alphas_cumprod"] = torch.ones(1000)
    file = _write({**tensors, **more}, tmp_path / "ema.safetensors")
    for name, handle in _handles(load_model(str(file))).items():
        with weights.use(handle) as found:
            state = modules[name].state_dict()
            assert all(value.equal(state[key]) for key, value in found.state_dict().items())


def test_half_precision_is_read_as_it_is_and_widened_on_demand(checkpoint: Any, tmp_path: Path) -> None:
    modules, _ = checkpoint("sd1")
    half = {name: tensor.half() for name, tensor in _named("sd1", modules).items()}
    file = str(_write(half, tmp_path / "half.safetensors"))
    state = {key: value.half() for key, value in modules["unet"].state_dict().items()}
    for dtype in ("float32", "float16"):
        handle = load_model(file, dtype=dtype).unet
        assert handle.dtype == dtype
        with weights.use(handle) as found:
            for key, value in found.state_dict().items():
                assert value.dtype == getattr(torch, dtype)
                assert value.half().equal(state[key])


def test_only_the_part_that_is_asked_for_is_read(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nodes.models.files import conversion

    asked: list[str] = []

    class Watched:
        def __init__(self, *args: Any, **options: Any) -> None:
            self.opened = real(*args, **options)

        def __enter__(self) -> Watched:
            self.file = self.opened.__enter__()
            return self

        def __exit__(self, *args: Any) -> None:
            self.opened.__exit__(*args)

        def keys(self) -> list[str]:
            return list(self.file.keys())

        def get_tensor(self, name: str) -> torch.Tensor:
            asked.append(name)
            found: torch.Tensor = self.file.get_tensor(name)
            return found

    real = conversion.safe_open
    monkeypatch.setattr(conversion, "safe_open", Watched)
    _, file = checkpoint("sdxl")
    single_file.load(load_model(str(file)).text_encoder, "float32")
    assert asked
    assert all(name.startswith("conditioner.embedders.0.") for name in asked)


def test_a_file_that_changed_is_not_loaded_under_the_old_name(checkpoint: Any, tmp_path: Path) -> None:
    modules, _ = checkpoint("sd1")
    tensors = _named("sd1", modules)
    file = _write(tensors, tmp_path / "model.safetensors")
    handle = load_model(str(file)).vae
    changed = {name: tensor + 1 if name.startswith("first_stage") else tensor for name, tensor in tensors.items()}
    _write(changed, tmp_path / "new.safetensors").replace(file)
    with pytest.raises(StepgraphError, match="changed while the workflow ran"):
        single_file.load(handle, "float32")


def test_an_autoencoder_alone(checkpoint: Any, tmp_path: Path) -> None:
    modules, whole = checkpoint("sdxl")
    state = modules["vae"].state_dict()
    file = _write(ldm_names.vae(state, 2, prefix=""), tmp_path / "vae.safetensors")
    for path, scaling in ((file, 0.18215), (whole, 0.13025)):
        vae = load_vae(str(path))
        assert settings(vae.config)["scaling_factor"] == scaling
        with weights.use(vae) as found:
            assert all(value.equal(state[key]) for key, value in found.state_dict().items())
    assert settings(load_vae(str(file), scaling_factor=0.5).config)["scaling_factor"] == 0.5
    with pytest.raises(InputError, match="holds an autoencoder; `load_vae` reads it"):
        load_model(str(file))


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_a_controlnet(tmp_path: Path, prefix: str) -> None:
    config = {
        "block_out_channels": [32, 64], "layers_per_block": 1, "cross_attention_dim": 64, "attention_head_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "conditioning_channels": 1,
        "conditioning_embedding_out_channels": [8, 16, 24, 32],
    }  # fmt: skip
    module = classes.build("ControlNetModel", config)
    random_models.wake(module)
    named = ldm_names.controlnet(module.state_dict(), 2, 1, prefix)
    part = single_file.read_controlnet(_write(named, tmp_path / "control.safetensors"))
    assert {name: part.config[name] for name in config} == config
    found = single_file.load(_handle(part), "float32")
    assert found.state_dict().keys() == module.state_dict().keys()
    assert all(value.equal(found.state_dict()[key]) for key, value in module.state_dict().items())
    with pytest.raises(InputError, match="holds a ControlNet; `load_controlnet` reads it"):
        load_model(str(tmp_path / "control.safetensors"))


def _handle(part: Any) -> Any:
    from nodes.types import ControlNetModel

    return ControlNetModel(
        part.source, part.class_name, json.dumps(part.settings), part.digest(), "cpu", "float32", "", part.layout
    )


@pytest.mark.parametrize("name", published.CHECKPOINTS)
def test_published_shapes_give_published_architectures(name: str) -> None:
    """From the shapes alone: the same tensors and the same heads as the published configuration."""
    for kind, (class_name, config, _) in published.CHECKPOINTS[name].items():
        with torch.device("meta"):
            module = classes.build(class_name, config)
        found = _architecture(kind, class_name, config, module.state_dict())
        with torch.device("meta"):
            rebuilt = classes.build(class_name, found)
        assert _sides(rebuilt) == _sides(module)
        for key in ("attention_head_dim", "num_attention_heads", "hidden_act", "upcast_attention", "norm_num_groups"):
            if key in found:
                assert getattr(rebuilt.config, key) == getattr(module.config, key)


def _architecture(kind: str, class_name: str, config: Mapping[str, Any], state: Tensors) -> dict[str, Any]:
    levels, layers = len(config.get("block_out_channels", ())), config.get("layers_per_block", 0)
    if kind == "unet":
        return architecture.unet(_shapes(ldm_names.unet(state, levels, layers, "")))
    if kind == "controlnet":
        return architecture.controlnet(_shapes(ldm_names.controlnet(state, levels, layers, "")))
    if kind == "vae":
        return architecture.vae(_shapes(ldm_names.vae(state, levels, "")))
    if config["hidden_act"] == "quick_gelu":
        named = _shapes(ldm_names.clip(state, ""))
        return architecture.clip({name.removeprefix("text_model."): shape for name, shape in named.items()})
    return architecture.open_clip(_shapes(ldm_names.open_clip(state, "")))


def _shapes(tensors: Tensors) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def _sides(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("name", published.CHECKPOINTS)
def test_published_parameter_counts(name: str) -> None:
    for class_name, config, count in published.CHECKPOINTS[name].values():
        with torch.device("meta"):
            module = classes.build(class_name, config)
        assert sum(parameter.numel() for parameter in module.parameters()) == count


def _without(prefix: str) -> Any:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}


BROKEN: list[tuple[str, Any, str]] = [
    ("no text", _without("cond_stage_model."), "something is missing"),
    ("no autoencoder", _without("first_stage_model."), "first_stage_model.decoder.conv_in.weight"),
    ("no unet", _without("model.diffusion_model."), "which holds an autoencoder; `load_vae` reads it"),
    ("a gap", _without("model.diffusion_model.input_blocks.4."), "some of its layers are not there"),
    ("a LoRA", lambda _: {"lora_unet_x.lora_up.weight": torch.ones(2)}, "holds a LoRA; `load_lora` reads it"),
    ("an IP-Adapter", lambda _: {"image_proj.a": torch.ones(2)}, "holds an IP-Adapter; `load_ip_adapter` reads it"),
    ("anything", lambda _: {str(n): torch.ones(2) for n in range(9)}, "tensors named like 0, 1"),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_other_files_are_refused_in_words(checkpoint: Any, tmp_path: Path, change: Any, message: str) -> None:
    tensors = change(_named("sd1", checkpoint("sd1")[0]))
    file = _write(tensors, tmp_path / "broken.safetensors")
    for call in (load_model, loading.infer, loading.fingerprint):
        with pytest.raises(InputError, match=message) as caught:
            call(str(file))
        assert caught.value.port == "path"


def test_a_tensor_that_is_not_there_is_named(checkpoint: Any, tmp_path: Path) -> None:
    """One that no configuration depends on: it shows when the weights are loaded."""
    tensors = _named("sd1", checkpoint("sd1")[0])
    del tensors["model.diffusion_model.output_blocks.3.0.in_layers.0.weight"]
    handle = load_model(str(_write(tensors, tmp_path / "holed.safetensors"))).unet
    with pytest.raises(StepgraphError, match=r"lacks 1 tensors.*up_blocks\.1\.resnets\.0\.norm1\.weight"):
        single_file.load(handle, "float32")


def test_cut_files_are_refused(checkpoint: Any, tmp_path: Path) -> None:
    data = checkpoint("sd1")[1].read_bytes()
    for size in (0, 5, 1000, len(data) - 3):
        file = tmp_path / f"{size}.safetensors"
        file.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"whole weights.*copy this file anew"):
            load_model(str(file))


def test_the_tokenizer_is_clips() -> None:
    """Ids of the published vocabulary (openai/clip-vit-large-patch14)."""
    tool = clip_tokenizer.make(clip_tokenizer.part().config)
    assert len(tool) == 49408
    assert tool.convert_tokens_to_ids(["!", "a</w>", "<|startoftext|>", "<|endoftext|>"]) == [0, 320, 49406, 49407]
    ids = tool("a photo of a cat", padding="max_length", max_length=8, truncation=True).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407, 49407]
    assert tool("Diffusion! 42").input_ids == tool("diffusion ! 4 2").input_ids


def test_the_tokenizer_of_stable_diffusion_2_pads_with_the_first_token(checkpoint: Any) -> None:
    tool = weights.tokenizer(load_model(str(checkpoint("sd2")[1])).tokenizer)
    ids = tool("a cat", padding="max_length", max_length=77, truncation=True).input_ids
    assert ids[:5] == [49406, 320, 2368, 49407, 0]
    xl = load_model(str(checkpoint("sdxl")[1])).tokenizer
    assert settings(xl.config)["pad_token"] == "<|endoftext|>"
    assert settings(xl.second.config)["pad_token"] == "!"
