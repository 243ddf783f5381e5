"""Weights in memory: loaded once, frozen, dropped when idle, never other content than the handle says."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from graphcore import StepgraphError
from graphcore.runtime import relieve_memory
from nodes import load_model
from nodes.models.memory import weights
from tests.nodes.conftest import TinyModel

PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    weights.free_idle()


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model()[1], tmp_path / "model"))


@pytest.mark.parametrize("part", PARTS)
def test_the_module_is_that_of_the_pipeline(tiny_model: TinyModel, part: str) -> None:
    pipeline, path = tiny_model()
    with weights.use(getattr(load_model(path), part)) as module:
        assert type(module) is type(getattr(pipeline, part))
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
        expected = getattr(pipeline, part).state_dict()
        assert module.state_dict().keys() == expected.keys()
        assert all(value.equal(expected[name]) for name, value in module.state_dict().items())


def test_loaded_once_for_equal_content(folder: Path, tiny_model: TinyModel) -> None:
    first, second = load_model(str(folder)), load_model(tiny_model()[1])
    with weights.use(first.unet) as one, weights.use(second.unet) as other:
        assert one is other
    with weights.use(first.unet) as again:
        assert again is one
    with weights.use(first.unet, "bfloat16") as half:
        assert half is not one
        assert half.dtype == torch.bfloat16


def test_many_threads_load_once(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    handle, loads, gate = load_model(tiny_model()[1]).unet, [], threading.Barrier(6)
    load = weights._load

    def counted(*args: object) -> object:
        loads.append(args)
        return load(*args)  # type: ignore[arg-type]

    def borrow(_: int) -> int:
        gate.wait()
        with weights.use(handle) as module:
            return id(module)

    monkeypatch.setattr(weights, "_load", counted)
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(borrow, range(6)))) == 1
    assert len(loads) == 1


def test_only_idle_weights_are_freed(tiny_model: TinyModel) -> None:
    model = load_model(tiny_model()[1])
    with weights.use(model.unet) as unet, weights.use(model.vae) as vae:
        size = sum(t.nbytes for t in (*vae.parameters(), *vae.buffers()))
        assert weights.free_idle() == 0
        held = weights.held_bytes()
        assert held == size + sum(t.nbytes for t in (*unet.parameters(), *unet.buffers()))
    with weights.use(model.unet) as again:
        assert again is unet
        assert relieve_memory() >= size  # the engine asks so when memory is short
        assert weights.held_bytes() == held - size
    assert weights.free_idle() == held - size
    assert weights.held_bytes() == 0
    with weights.use(model.vae) as fresh:
        assert fresh is not vae


def test_an_error_in_the_node_gives_the_module_back(tiny_model: TinyModel) -> None:
    handle = load_model(tiny_model()[1]).unet
    with pytest.raises(ZeroDivisionError), weights.use(handle):
        1 / 0  # noqa: B018
    assert weights.free_idle() > 0


def test_changed_files_are_not_loaded_under_the_old_digest(folder: Path) -> None:
    handle = load_model(str(folder)).vae
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(StepgraphError, match="changed while the workflow ran"), weights.use(handle):
        pass


def test_a_handle_outlives_a_move_of_its_folder(folder: Path, tmp_path: Path) -> None:
    handle = replace(load_model(str(folder)).unet, digest=_other_content(folder))
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(StepgraphError, match="is gone"), weights.use(handle):
        pass
    load_model(str(moved))
    with weights.use(handle) as module:
        assert module.config["_name_or_path"] == str(moved / "unet")


def _other_content(folder: Path) -> str:
    """Make the UNet of a folder one that no other test has; its digest."""
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value + 1e-3 for name, value in load_file(file).items()}, file, {"format": "pt"})
    return load_model(str(folder)).unet.digest


def test_missing_tensors_are_an_error_not_noise(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_out.bias"]
    save_file(tensors, file, {"format": "pt"})
    lacking = pytest.raises(StepgraphError, match=r"lack 1 tensors of a UNet2DConditionModel \(conv_out\.bias\)")
    with lacking, weights.use(load_model(str(folder)).unet):
        pass


def test_a_broken_tokenizer_is_an_error_in_words(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(StepgraphError, match=r"tokenizer in .* cannot be read"):
        weights.tokenizer(load_model(str(folder)).tokenizer)


@pytest.mark.parametrize("name", ["int8", "manual_seed", "float99"])
def test_only_floating_point_types_are_dtypes(name: str) -> None:
    with pytest.raises(StepgraphError, match="floating-point"):
        weights.torch_dtype(name)


@pytest.mark.parametrize("part", PARTS)
def test_pretended_modules_have_the_shapes_and_no_data(folder: Path, tiny_model: TinyModel, part: str) -> None:
    handle = getattr(load_model(str(folder)), part)
    shutil.rmtree(folder)
    with FakeTensorMode(), weights.pretend(), weights.use(handle) as module, weights.use(handle) as again:
        assert again is module
        shapes = {name: value.shape for name, value in module.state_dict().items()}
        assert all(isinstance(value, FakeTensor) for value in module.parameters())
    expected = getattr(tiny_model()[0], part).state_dict()
    assert shapes == {name: value.shape for name, value in expected.items()}
    assert weights.held_bytes() == 0
