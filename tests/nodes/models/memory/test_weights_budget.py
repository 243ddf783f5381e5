"""Weights of real (tiny) models within a budget, offloaded, in variants: the same results as without."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphcore import Engine, InputError, StepgraphError
from graphcore.errors import NodeFailed, OutOfMemory
from graphcore.runtime import _notes
from nodes import load_model
from nodes.models.memory import budget, placement, weights
from nodes.models.options import ATTENTIONS, Options, parse
from nodes.types import ModelHandle
from tests.nodes.conftest import TinyModel
from tests.nodes.models.memory.test_manager import allocator_error, true_bytes
from tests.parity.shipped import REGISTRY, workflow

GPU = "cpu:0"
"""The CPU by a name under which its memory is counted apart: it stands for a GPU."""


@pytest.fixture(autouse=True)
def _own_budget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is loaded before, and what a test sets does not outlive it."""
    weights.free_idle()
    yield
    for device in ("cpu", GPU):
        weights.set_limit(None, device)
    weights.free_idle()


def forward(handle: ModelHandle) -> torch.Tensor:
    """One prediction of a UNet with 4 input channels and a context of 32."""
    drawn = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, 16, 16, generator=drawn)
    context = torch.randn(2, 7, 32, generator=drawn)
    with weights.use(handle) as module, torch.no_grad():
        found: torch.Tensor = module(sample, 801, context).sample
    return found


def size_of(handle: ModelHandle) -> int:
    with weights.use(handle) as module:
        return true_bytes([module])


def loads() -> int:
    return weights.report().loads


@pytest.fixture
def two(tiny_model: TinyModel) -> tuple[ModelHandle, ModelHandle]:
    """UNets of two models on disk, of one size."""
    return load_model(tiny_model()[1]).unet, load_model(tiny_model(seed=1)[1]).unet


def test_two_models_alternate_within_room_for_one(two: tuple[ModelHandle, ModelHandle]) -> None:
    expected = [forward(handle) for handle in two]
    assert not torch.equal(*expected)
    size = size_of(two[0])
    weights.free_idle()
    weights.set_limit(size)
    before = loads()
    for _ in range(3):
        for handle, result in zip(two, expected, strict=True):
            assert torch.equal(forward(handle), result)
            assert torch.equal(forward(handle), result)  # stays while nothing else comes
            assert weights.held_bytes() == size
    assert loads() - before == 3 * 2
    weights.set_limit(2 * size)
    before = loads()
    for handle in (*two, *two):
        forward(handle)
    assert loads() - before == 1


def test_a_part_above_the_budget_is_loaded_with_a_note(two: tuple[ModelHandle, ModelHandle]) -> None:
    said: list[str] = []
    weights.set_limit("10kb")
    token = _notes.set(said.append)
    try:
        forward(two[0])
        forward(two[1])
    finally:
        _notes.reset(token)
    assert len(said) == 2
    assert all("UNet2DConditionModel" in note and "more than the budget of 0.009537 MiB" in note for note in said)
    assert weights.held_bytes() == size_of(two[1])


def test_many_threads_and_models_in_little_room(two: tuple[ModelHandle, ModelHandle]) -> None:
    expected = [forward(handle) for handle in two]
    weights.set_limit(size_of(two[0]))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda turn: forward(two[turn % 2]), range(12)))
    assert all(torch.equal(result, expected[turn % 2]) for turn, result in enumerate(found))


def test_the_room_that_a_part_needs_is_known_before(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_model()[1], tmp_path / "model"))
    tiny_model()[0].unet.save_pretrained(folder / "unet", max_shard_size="100KB")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    monkeypatch.setattr(weights, "_sizes", {})
    model = load_model(tiny_model()[1])
    for handle in (model.unet, model.vae, load_model(str(folder)).unet, replace(model.unet, dtype="bfloat16")):
        key = weights._key(handle, handle.dtype)
        assert weights._expected(handle, key) == size_of(handle)
    for handle in (model.text_encoder, load_model("random:sd15").unet):  # position ids are in no file
        key = weights._key(handle, handle.dtype)
        first, size = weights._expected(handle, key), size_of(handle)
        assert first <= size
        assert weights._expected(handle, key) == size


@pytest.mark.parametrize("attention", ATTENTIONS[1:3])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_variants_share_the_tensors_of_their_base(attention: str, part: str) -> None:
    handle = getattr(load_model("random:sd15"), part)
    variant = replace(handle, options=Options(attention).text())
    with weights.use(variant) as other:
        size = weights.held_bytes()
        with weights.use(handle) as base:
            assert base is not other
            assert {t.data_ptr() for t in placement.tensors(base)} == {t.data_ptr() for t in placement.tensors(other)}
            assert weights.held_bytes() == size == true_bytes([base])
        assert weights.free_idle() == 0
    assert weights.free_idle() == size


def test_a_base_is_loaded_once_for_all_its_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, before = load_model("random:sd15").unet, loads()
    options = [Options(), Options("eager"), Options("sliced"), Options("eager", compile=True)]
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    load, loaded = weights._load, []
    monkeypatch.setattr(weights, "_load", lambda *given: loaded.append(1) or load(*given))
    weights.set_limit(1)
    modules = []
    for option in options:
        with weights.use(replace(handle, options=option.text())) as module:
            modules.append(module)
    assert len({id(module) for module in modules}) == 4
    assert (len(loaded), loads() - before) == (1, 4)


def test_channels_last_is_a_layout_of_its_own(two: tuple[ModelHandle, ModelHandle]) -> None:
    handle, last = two[0], replace(two[0], options=Options(channels_last=True).text())
    with weights.use(last) as module, weights.use(handle) as plain:
        weight = module.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert plain.conv_in.weight.is_contiguous()
        assert not weight.is_contiguous()
        assert torch.equal(weight, plain.conv_in.weight)
    torch.testing.assert_close(forward(last), forward(handle), atol=1e-5, rtol=1e-4)


def test_compile_is_asked_of_what_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    model = load_model("random:sd15")
    for handle in (model.unet, model.vae, model.text_encoder):
        with weights.use(replace(handle, options=Options(compile=True).text())), weights.use(handle):
            pass
    assert compiled == ["UNet2DConditionModel", "Encoder", "Decoder", "CLIPTextModel"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler has some about torch
@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
def test_a_compiled_module_computes_the_same() -> None:
    from torch._dynamo.utils import counters

    vae, latents = load_model("random:sd15").vae, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    counters.clear()
    with weights.use(replace(vae, options=Options(compile=True).text())) as fast, weights.use(vae) as plain:
        assert plain.decoder._compiled_call_impl is None
        with torch.no_grad():
            torch.testing.assert_close(fast.decode(latents).sample, plain.decode(latents).sample, atol=1e-4, rtol=1e-4)
    assert counters["stats"]["calls_captured"] > 10


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the direct way onto a GPU, which needs one."""
    monkeypatch.setattr(placement, "is_accelerator", lambda device: device == GPU)
    monkeypatch.setattr(weights, "_straight_to", lambda device: {})


@pytest.mark.usefixtures("_gpu")
def test_offloaded_parts_come_back_as_they_were(two: tuple[ModelHandle, ModelHandle]) -> None:
    expected, before = forward(two[0]), loads()
    options = Options(offload="cpu").text()
    first, second = (replace(handle, device=GPU, options=options) for handle in two)
    eager = replace(first, options=Options("eager", offload="cpu").text())
    for _ in range(2):
        assert torch.equal(forward(first), expected)
        torch.testing.assert_close(forward(eager), expected, atol=1e-5, rtol=1e-4)
        forward(second)
        assert weights.report().bytes == {"cpu": 2 * size_of(two[0]), GPU: size_of(two[0])}
    assert loads() - before == 3


def test_from_disk_again_each_time(two: tuple[ModelHandle, ModelHandle]) -> None:
    handles = [replace(handle, options=Options(offload="disk").text()) for handle in two]
    expected = [forward(handle) for handle in two]
    before = loads()
    for _ in range(2):
        assert [torch.equal(forward(handle), result) for handle, result in zip(handles, expected, strict=True)]
    assert loads() - before == 4


@pytest.mark.parametrize("text", ['{"attention": "fast"}', '{"offload": "cloud"}', '{"compile": 1}', '{"speed": true}'])
def test_unknown_options_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text)
    handle = replace(load_model("random:sd15").unet, options=text)
    with pytest.raises(InputError), weights.use(handle):
        pass


def test_options_are_the_same_however_they_are_stated() -> None:
    assert Options().text() == "{}"
    stated = Options("eager", compile=True, channels_last=True, offload="disk")
    assert parse(stated.text()) == stated
    assert parse("{}") == Options()


def test_a_failed_load_leaves_nothing(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model(seed=2)[1], tmp_path / "model"))
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    save_file({name: value for name, value in whole.items() if "mid_block" not in name}, file, {"format": "pt"})
    model = load_model(str(folder))
    vae = size_of(model.vae)
    for _ in range(2):
        with pytest.raises(StepgraphError, match="lack"), weights.use(model.unet):
            pass
        with pytest.raises(StepgraphError, match="lack"):
            forward(replace(model.unet, options=Options("eager").text()))
    assert weights.held_bytes() == vae
    assert [part.users for part in weights.report().parts] == [0]
    save_file(whole, file, {"format": "pt"})
    again = load_model(str(folder)).unet
    assert torch.equal(forward(again), forward(load_model(tiny_model(seed=2)[1]).unet))


def test_the_report_says_what_is_where(two: tuple[ModelHandle, ModelHandle]) -> None:
    weights.set_limit("1GiB")
    handle = replace(two[0], options=Options("eager").text())
    with weights.use(handle):
        base, variant = weights.report().parts
    assert (base.name, base.variant, base.users) == (f"UNet2DConditionModel {two[0].source} float32", False, 0)
    assert variant.name.endswith('{"attention":"eager"}')
    assert (variant.variant, variant.users, variant.bytes) == (True, 1, 0)
    report = weights.report()
    assert report.bytes == {"cpu": base.bytes} == {"cpu": weights.held_bytes()}
    assert report.limits == {"cpu": 2**30}


PROMPT: dict[str, Any] = {"model": "random:sd15", "prompt": "a cat", "steps": 1, "width": 32, "height": 32}


@pytest.mark.parametrize("fails", [1, 2])
def test_a_run_goes_on_when_memory_was_short(monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    """Once: the weights are tried again without idle ones. Twice: the engine lets its values go and tries again."""
    load, error, left = weights._load, allocator_error(), [fails]

    def short(*given: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return load(*given)

    monkeypatch.setattr(weights, "_load", short)
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        run = engine.start(workflow("txt2img"), PROMPT)
        events = [event.event for event in run]
        assert run.finish()["image"].pixels.shape == (1, 3, 32, 32)
    assert events.count("out_of_memory") == fails - 1


def test_a_run_ends_in_words_when_memory_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    error = allocator_error()

    def full(*given: Any) -> Any:
        raise error

    monkeypatch.setattr(weights, "_load", full)
    ends = pytest.raises(NodeFailed, match=r"the device is full.*you tried to allocate")
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine, ends as caught:
        engine.run(workflow("txt2img"), **PROMPT)
    assert isinstance(caught.value.__cause__, (OutOfMemory, torch.OutOfMemoryError))


MEASURE = """
import json, resource, sys, torch, diffusers
from nodes.models import loading
from nodes.models.memory import weights
from diffusers import AutoencoderKL
from transformers import CLIPTextModel
from dataclasses import replace
handle = replace(loading.load_model(sys.argv[1]).vae, dtype=sys.argv[2])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
with weights.use(handle) as module:
    total = sum(float(p.sum()) for p in module.parameters())  # every page is touched
    print(json.dumps([peak() - before, weights.held_bytes()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="getrusage counts otherwise")
@pytest.mark.parametrize(("dtype", "copies"), [("float32", 1.0), ("bfloat16", 3.0)])
def test_loading_needs_no_second_copy(tiny_model: TinyModel, tmp_path: Path, dtype: str, copies: float) -> None:
    """Files are mapped. Converted, the file's pages (which the system can take back) come beside the new tensors."""
    from diffusers import AutoencoderKL

    folder = Path(shutil.copytree(tiny_model()[1], tmp_path / "model"))
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    vae = AutoencoderKL(block_out_channels=[256, 512], latent_channels=4, layers_per_block=1, **kinds)
    shutil.rmtree(folder / "vae")
    vae.save_pretrained(folder / "vae")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), dtype], capture_output=True, text=True, check=True
    )
    used, held = json.loads(done.stdout.splitlines()[-1])
    assert held == sum(p.numel() for p in vae.parameters()) * (4 if dtype == "float32" else 2)
    assert used < copies * held + (24 << 20)  # and what the first use of a class needs


def test_sizes_are_said_in_words() -> None:
    assert (budget.text(3 * 2**29), budget.text(5 * 2**20)) == ("1.5 GiB", "5 MiB")
