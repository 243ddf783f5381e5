"""`load_model`: real models give handles, everything else a refusal that says what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from graphcore import InputError, StepgraphError, runtime
from graphcore.runtime import Runtime, _runtime
from nodes import load_model
from nodes.models import loading, model_folder
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
        assert Path(handle.folder) == Path(path) / name
        assert (handle.device, handle.dtype) == (runtime().device, runtime().dtype)
    config = model_folder.settings(model.unet.config)
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
    assert {(part.device, part.dtype) for part in model[:5]} == {("cuda:1", "bfloat16")}


def test_the_embedded_model_is_found_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    token = _runtime.set(Runtime(roots=(tmp_path,)))  # what comes with the library may always be read
    try:
        model = load_model("builtin:emoji")
    finally:
        _runtime.reset(token)
    config = model_folder.settings(model.tokenizer.config)
    assert len(config["vocabulary"]) == 110
    assert config["model_max_length"] == 32
    assert model_folder.settings(model.unet.config)["prediction_type"] == "v_prediction"


def test_content_counts_not_place_or_name(folder: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(folder, tmp_path / "copy")
    (elsewhere / "README.md").write_text("notes")
    (elsewhere / "unet" / "other.ckpt").write_bytes(b"never read")
    assert loading.fingerprint(str(folder)) == loading.fingerprint(str(elsewhere))
    assert [p.digest for p in load_model(str(folder))[:5]] == [p.digest for p in load_model(str(elsewhere))[:5]]


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
    changed = {n for n in model_folder.PARTS if getattr(before, n).digest != getattr(after, n).digest}
    assert changed == {part}
    assert loading.fingerprint(str(folder)) != print_before


def test_infer_reads_no_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphcore.values import content

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
    ("two encoders", _index(_class_name="StableDiffusionXLPipeline", text_encoder_2=["transformers", PROJECTED]),
     r"StableDiffusionXLPipeline with the part `text_encoder_2` \(CLIPTextModelWithProjection\)"),
    ("other unet", _index(unet=["diffusers", "UNet3DConditionModel"]), r"whose `unet` is a UNet3DConditionModel"),
    ("part is null", _index(vae=[None, None]), r"without vae"),
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
        ("no/such", r"does not exist; nothing is downloaded here"),
        ("/no/such", r"does not exist; give a folder in the diffusers layout"),
    ],
)
def test_unknown_names_are_refused(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_files_are_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    for name, message in (("a.ckpt", "never opened"), ("a.safetensors", "from_single_file"), ("a.txt", "layout")):
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
    from nodes.models import weights

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
