"""`load_model`: real models give handles, everything else a refusal that says what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from graphcore import InputError, StepgraphError, runtime
from graphcore.runtime import Runtime, _runtime
from nodes import load_model, load_vae
from nodes.models import loading, part_checks, random_models
from nodes.models.files import model_folder
from nodes.models.handles import settings
from nodes.models.memory import weights
from tests.nodes.conftest import TinyModel


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A copy of a tiny model that a test may damage."""
    return Path(shutil.copytree(tiny_model()[1], tmp_path / "model"))


def test_handles_say_what_the_pipeline_says(tiny_model: TinyModel) -> None:
    pipeline, path = tiny_model("v_prediction")
    model = load_model(path)
    for name in ("unet", "vae", "text_encoder"):
        handle, module = getattr(model, name), getattr(pipeline, name)
        assert handle.class_name == type(module).__name__
        assert Path(handle.source) == Path(path) / name
        assert (handle.device, handle.dtype) == (runtime().device, runtime().dtype)
    config = settings(model.unet.config)
    assert config["cross_attention_dim"] == pipeline.unet.config.cross_attention_dim
    assert config["prediction_type"] == "v_prediction"
    assert model.scheduler.class_name == "DDIMScheduler"
    space = model.latent_space
    assert (space.channels, space.downsampling) == (4, pipeline.vae_scale_factor)
    assert (space.scaling_factor, space.sample_size) == (pipeline.vae.config.scaling_factor, 16)


def test_the_handles_of_the_run_say_its_device_and_dtype(tiny_model: TinyModel) -> None:
    token = _runtime.set(Runtime(device="cuda:1", dtype="bfloat16"))
    try:
        model = load_model(tiny_model()[1])
    finally:
        _runtime.reset(token)
    assert {(part.device, part.dtype) for part in model[:6]} == {("cuda:1", "bfloat16")}


def test_the_embedded_model_is_found_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    token = _runtime.set(Runtime(roots=(tmp_path,)))  # what comes with the library may always be read
    try:
        model = load_model("builtin:emoji")
    finally:
        _runtime.reset(token)
    config = settings(model.tokenizer.config)
    assert len(config["vocabulary"]) == 110
    assert config["model_max_length"] == 32
    assert settings(model.unet.config)["prediction_type"] == "v_prediction"


def test_content_counts_not_place_or_name(folder: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(folder, tmp_path / "copy")
    (elsewhere / "README.md").write_text("notes")
    (elsewhere / "unet" / "other.ckpt").write_bytes(b"never read")
    assert loading.fingerprint(str(folder)) == loading.fingerprint(str(elsewhere))
    assert [p.digest for p in load_model(str(folder))[:6]] == [p.digest for p in load_model(str(elsewhere))[:6]]


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ("unet", "diffusion_pytorch_model.safetensors"),
        ("vae", "config.json"),
        ("scheduler", "scheduler_config.json"),
        ("tokenizer", "tokenizer.json"),
    ],
)
def test_every_file_that_is_read_counts(folder: Path, part: str, file: str) -> None:
    before, print_before = load_model(str(folder)), loading.fingerprint(str(folder))
    target = folder / part / file
    if file.endswith(".safetensors"):
        data = bytearray(target.read_bytes())
        data[-1] ^= 1
        target.write_bytes(data)
    else:
        target.write_text(json.dumps({**json.loads(target.read_text()), "a_comment": 1}))
    os.utime(target, ns=(1, 1))
    after = load_model(str(folder))
    changed = {n for n in before._fields[:6] if getattr(before, n).digest != getattr(after, n).digest}
    assert changed == {part}
    different = [one != other for one, other in zip(print_before, loading.fingerprint(str(folder)), strict=True)]
    assert [name for name, changes in zip(before._fields, different, strict=True) if changes] == [part]


def test_infer_reads_no_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphcore import content

    monkeypatch.setattr(content, "digest", lambda path: pytest.fail(f"hashed {path}"))
    inferred = loading.infer(str(folder))
    assert inferred is not None
    assert inferred.latent_space.sample_size == 16
    assert loading.infer() is None


def test_half_precision_variants_are_found(folder: Path) -> None:
    for name, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        (folder / name / f"{stem}.safetensors").rename(folder / name / f"{stem}.fp16.safetensors")
    assert load_model(str(folder)).unet.digest
    files, variant = model_folder.weight_files(folder / "unet", "diffusion_pytorch_model")
    assert variant == "fp16"
    assert files[0].name == "diffusion_pytorch_model.fp16.safetensors"


def _remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        place = folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()

    return damage


def _write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data) and None  # type: ignore[func-returns-value]


def _cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 7)


def _index(**changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "model_index.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return damage


def _pickle(folder: Path) -> None:
    unet = folder / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")


def _config(name: str, **changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return damage


PROJECTED = "CLIPTextModelWithProjection"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    ("no index", _remove("model_index.json"), r"model_index\.json.*diffusers layout"),
    ("index is no JSON", _write("model_index.json", b"{"), r"JSON file `model_index\.json`"),
    ("index is deep", _write("model_index.json", b"[" * 100_000), r"JSON file `model_index\.json`"),
    ("index is a list", _write("model_index.json", b"[]"), r"JSON object.*got a list"),
    ("no part folder", _remove("vae"), r"part folder `vae`.*fetch the model anew"),
    ("no config", _remove("vae/config.json"), r"`config\.json`.*no such file"),
    ("no weights", _remove(WEIGHTS), r"diffusion_pytorch_model\.safetensors.*no weights"),
    ("pickled weights", _pickle, r"got diffusion_pytorch_model\.bin; pickled weights are never opened"),
    ("cut weights", _cut(WEIGHTS), r"whole weights.*bytes of the"),
    ("empty weights", _write(WEIGHTS, b" "), r"without a safetensors header"),
    ("wild header", _write(WEIGHTS, b"\xff" * 64), r"without a safetensors header"),
    ("header is no JSON", _write(WEIGHTS, b"\x04" + b"\0" * 7 + b"abcd"), r"damaged safetensors header"),
    ("no tokens", _remove("tokenizer/tokenizer.json"), r"`tokenizer\.json`, or `vocab\.json`"),
    ("other config", _config("unet/config.json", in_channels=9), r"`in_channels` 9.*got 4.*different models"),
    ("three encoders", _index(_class_name="StableDiffusion3Pipeline", text_encoder_3=["transformers", "T5Model"]),
     r"StableDiffusion3Pipeline with the part `text_encoder_3` \(T5Model\)"),
    ("encoder is not there", _index(text_encoder_2=["transformers", PROJECTED]), r"part folder `text_encoder_2`"),
    ("other unet", _index(unet=["diffusers", "UNet3DConditionModel"]), r"whose `unet` is a UNet3DConditionModel"),
    ("part is null", _index(unet=[None, None]), r"without unet"),
    ("own code", _index(unet=["evil_module", "UNet"]), r"whose `unet` is a UNet"),
    ("guidance embedded", _config("unet/config.json", time_cond_proj_dim=8), r"`time_cond_proj_dim`"),
    ("wild setting", _config("vae/config.json", block_out_channels=7), r"a setting that fails.*TypeError"),
    ("wild width", _config("unet/config.json", cross_attention_dim="x"), r"a setting that fails.*ValueError"),
    ("masked text", _config("text_encoder/config.json", use_attention_mask=True), r"use_attention_mask"),
    ("normalised latents", _config("vae/config.json", latents_mean=[0.0] * 4), r"latents_mean"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_broken_models_are_refused_in_words(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    for call in (load_model, loading.infer, loading.fingerprint):
        with pytest.raises(InputError, match=f"(?s){message}") as caught:
            call(str(folder))
        assert caught.value.port == "path"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("builtin:emojy", r"`builtin:emoji`.*did you mean `emoji`"),
        ("builtin:../emoji", r"a built-in model"),
        ("builtin:", r"a built-in model"),
        ("no/such", r"in the cache of the hub, got nothing of it.*`hf download no/such`"),
        ("no/such@v1.0", r"`hf download no/such --revision v1\.0`"),
        ("tests/nothing", r"`path` wants a model, got 'tests/nothing', which does not exist"),
        ("no/such.safetensors", r"which does not exist"),
        ("/no/such", r"does not exist; give a folder in the diffusers layout"),
        ("random:sd99", r"one of sd15, .* after `random:`"),
        ("random:taesd", r"a whole model.*vae alone; `load_vae` reads"),
    ],
)
def test_unknown_names_are_refused(path: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(Path(__file__).parent.parent.parent.parent)
    for call in (load_model, loading.infer):
        with pytest.raises(InputError, match=f"(?s){message}"):
            call(path)


def test_files_are_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    for name, message in (("a.ckpt", "never opened"), ("a.safetensors", "whole weights"), ("a.txt", "layout")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=message):
            load_model(str(tmp_path / name))
    with pytest.raises(InputError, match="one part of a model; give the folder above it"):
        load_model(str(folder / "unet"))


def test_nothing_is_read_outside_the_roots(folder: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    shutil.copytree(folder, inside / "linked")
    weights = inside / "linked" / "vae" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.symlink_to(folder / "vae" / weights.name)
    token = _runtime.set(Runtime(roots=(inside,)))
    try:
        for path in (folder, inside / "linked"):
            with pytest.raises(StepgraphError, match="outside the folders"):
                load_model(str(path))
    finally:
        _runtime.reset(token)
    assert load_model(str(inside / "linked")).vae.digest == load_model(str(folder)).vae.digest


def test_shards_are_read_through_their_index(folder: Path, tiny_model: TinyModel) -> None:
    unet = folder / "unet"
    tiny_model()[0].unet.save_pretrained(unet, max_shard_size="100KB")
    (unet / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    handle = load_model(str(folder)).unet
    with weights.use(handle) as module:
        expected = tiny_model()[0].unet.state_dict()
        assert all(value.equal(expected[name]) for name, value in module.state_dict().items())
    shard = next(file for file in unet.iterdir() if "-of-" in file.name)
    shard.unlink()
    with pytest.raises(InputError, match=shard.name):
        load_model(str(folder))


def test_the_command_for_pickles_converts_them(folder: Path, tmp_path: Path) -> None:
    """What the refusal says works as it stands, and gives the tensors back; code in a pickle is not run."""
    import torch
    from safetensors.torch import load_file

    weights_file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights_file)
    torch.save({"state_dict": tensors, "epoch": 3}, weights_file.with_suffix(".bin"))
    weights_file.unlink()
    with pytest.raises(InputError) as caught:
        load_model(str(folder))
    assert _run(caught.value.fix) == 0
    assert all(tensors[name].equal(found) for name, found in load_file(weights_file).items())
    assert load_model(str(folder)).unet.digest

    torch.save({"state_dict": Evil(str(tmp_path / "was here"))}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError) as caught:
        load_model(str(tmp_path / "evil.ckpt"))
    assert _run(caught.value.fix) != 0
    assert not (tmp_path / "was here").exists()


class Evil:
    """Makes a folder when it is unpickled without care."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


def _run(fix: str) -> int:
    command = fix.partition("safely: ")[2].replace("python ", f"{sys.executable} ", 1)
    return subprocess.run(command, shell=True, capture_output=True, check=False).returncode


FAMILIES = {
    "sd15": "sd", "sd21": "sd", "sd21_base": "sd", "sd15_inpaint": "sd_inpaint", "sdxl": "sdxl",
    "sdxl_inpaint": "sdxl_inpaint", "sdxl_refiner": "sdxl_refiner", "ldm_text2img": "ldm_text2img",
    "ldm_class": "ldm_class", "ldm_semantic": "ldm_semantic", "ldm_super_resolution": "ldm_super_resolution",
    "ldm": "ldm", "ddpm": "ddpm", "improved_ddpm": "ddpm", "fmri": "ldm_fmri",
    "sd_x4_upscaler": "sd_x4_upscaler", "sd21_zero_snr": "sd",
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_random_models_are_of_their_families_and_load(name: str) -> None:
    model = load_model(f"random:{name}")
    assert model.unet.family == FAMILIES[name]
    handles = [model.unet, model.vae, model.text_encoder, model.text_encoder.second, model.encoder]
    for handle in handles:
        if handle is not None and handle.class_name not in ("", loading.PIXEL_SPACE):
            with weights.use(handle) as module:
                assert type(module).__name__ == handle.class_name
                assert all(tensor.any() for name, tensor in module.named_parameters() if tensor.dim() > 1)
    for tool in (model.tokenizer, model.tokenizer.second):
        if tool is not None and tool.class_name:
            encoder = model.text_encoder if tool is model.tokenizer else model.text_encoder.second
            assert encoder is not None
            assert len(weights.tokenizer(tool)) == settings(encoder.config)["vocab_size"]


def test_random_weights_depend_on_the_name_alone() -> None:
    import torch

    handle, other = load_model("random:sd15").unet, load_model("random:sd15_inpaint").vae
    torch.manual_seed(1)
    with weights.use(handle) as module:
        first = {name: value.clone() for name, value in module.state_dict().items()}
    weights.free_idle()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    with weights.use(handle) as module:
        assert all(value.equal(first[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert other.digest != load_model("random:sd15").vae.digest


def test_a_run_is_told_that_weights_are_random(monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel) -> None:
    told: list[str] = []
    monkeypatch.setattr(loading, "note", told.append)
    load_model("random:ldm")
    load_vae("random:taesd")
    load_model(tiny_model()[1])
    assert len(told) == 2
    assert all("no picture of anything" in message for message in told)


OPTIONS: dict[str, Any] = {
    "dtype": "bfloat16", "attention": "eager", "compile": True, "channels_last": True, "offload": "disk"
}  # fmt: skip


def test_options_are_part_of_what_handles_are(tiny_model: TinyModel) -> None:
    path = tiny_model()[1]
    plain, model = load_model(path), load_model(path, **OPTIONS)
    assert {handle.options for handle in plain[:6]} == {"{}"}
    assert json.loads(model.unet.options) == {name: OPTIONS[name] for name in list(OPTIONS)[1:]}
    assert model.unet.options == model.vae.options == model.text_encoder.options
    assert (model.unet.dtype, model.tokenizer.options, model.scheduler.options) == ("bfloat16", "{}", "{}")
    assert model.unet.digest == plain.unet.digest
    inferred = loading.infer(path, **OPTIONS)
    assert inferred is not None
    assert (inferred.unet.options, inferred.unet.dtype) == (model.unet.options, "bfloat16")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_the_print_of_what_has_weights(tiny_model: TinyModel, name: str) -> None:
    path = tiny_model()[1]
    prints = zip(loading.fingerprint(path), loading.fingerprint(path, **{name: OPTIONS[name]}), strict=True)
    changed = [field for field, (one, other) in zip(loading.LoadedModel._fields, prints, strict=True) if one != other]
    assert changed == ["unet", "vae", "text_encoder"]


def test_options_are_those_that_weights_know() -> None:
    from nodes.models import options

    assert get_args(loading.Attention) == options.ATTENTIONS
    assert tuple("" if name == "none" else name for name in get_args(loading.Offload)) == options.OFFLOADS


def test_what_a_unet_predicts_can_be_said(tiny_model: TinyModel) -> None:
    path = tiny_model()[1]
    plain, said = load_model(path), load_model(path, prediction_type="v_prediction")
    assert settings(plain.scheduler.config)["prediction_type"] == "epsilon"
    assert settings(said.scheduler.config)["prediction_type"] == "v_prediction"
    assert settings(said.unet.config)["prediction_type"] == "v_prediction"
    assert said.unet.digest == plain.unet.digest


def test_another_autoencoder(folder: Path) -> None:
    own = load_model(str(folder)).vae
    for path in (folder, folder / "vae"):
        found = load_vae(str(path))
        assert (found.digest, found.class_name, found.config) == (own.digest, own.class_name, own.config)
    assert load_vae("random:taesd").class_name == "AutoencoderTiny"
    assert settings(load_vae("random:ldm_super_resolution").config)["scaling_factor"] == 1.0
    other = load_vae(str(folder / "vae"), scaling_factor=0.13025)
    assert settings(other.config)["scaling_factor"] == 0.13025
    with weights.use(own) as one, weights.use(other) as two:
        assert one is two  # the scale is no part of the module
    assert loading.fingerprint_vae(str(folder / "vae"), scaling_factor=0.13025) != loading.fingerprint_vae(str(folder))
    inferred = loading.infer_vae(str(folder), 0.0)
    assert inferred is not None
    assert inferred.digest == ""


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("random:ddpm", "a model without one"),
        ("unet", "an autoencoder .*with a UNet2DConditionModel"),
        ("tokenizer", r"`model_index\.json`"),
        ("vae/config.json", r"a folder or a \.safetensors file"),
    ],
)
def test_what_is_no_autoencoder_is_refused(folder: Path, path: str, message: str) -> None:
    place = path if path.startswith("random:") else str(folder / path)
    with pytest.raises(InputError, match=message):
        load_vae(place)
    with pytest.raises(InputError, match=message):
        loading.infer_vae(place, 0.0)


def test_settings_of_the_pipeline_come_with_the_parts(folder: Path) -> None:
    before = load_model(str(folder)).text_encoder
    _index(force_zeros_for_empty_prompt=True)(folder)
    after = load_model(str(folder)).text_encoder
    assert settings(after.config)["force_zeros_for_empty_prompt"] is True
    assert after.digest == before.digest
    weights.free_idle()
    with weights.use(after):
        pass  # what `model_index.json` adds is not looked for in the folder of the part


@pytest.mark.parametrize(("key", "value"), [("time_cond_proj_dim", 8), ("class_embed_type", "other")])
def test_unets_of_other_kinds_are_refused(key: str, value: object) -> None:
    parts = random_models.parts("sd15")
    parts["unet"] = replace(parts["unet"], config={**parts["unet"].config, key: value})
    with pytest.raises(InputError, match=key):
        part_checks.check(parts)
