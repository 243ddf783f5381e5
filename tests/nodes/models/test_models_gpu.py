"""On a GPU: the same nodes, half precision, and a UNet call for which the host waits nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from graphcore.runtime import Runtime, _runtime
from nodes import encode_text, load_model, tokenize, vae_decode
from nodes.models.memory import placement, weights
from nodes.models.options import Options
from nodes.types import Latents, ModelHandle, Timestep
from tests.nodes.conftest import TinyModel

predict_together = sys.modules["nodes.sampling.unet"].predict_together

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_guided_prediction_is_the_pipelines(tiny_model: TinyModel, dtype: str) -> None:
    from diffusers import StableDiffusionPipeline

    kind = getattr(torch, dtype)
    path = tiny_model()[1]
    pipeline = StableDiffusionPipeline.from_pretrained(path, local_files_only=True, torch_dtype=kind).to("cuda")
    token = _runtime.set(Runtime(device="cuda", dtype=dtype))
    model = load_model(path)
    _runtime.reset(token)
    prompts = [encode_text(model.text_encoder, tokenize(model.tokenizer, text)) for text in ("", "a red apple")]
    latents = Latents(torch.randn(2, 4, 16, 16, device="cuda", dtype=kind), model.latent_space)
    calls: list[dict[str, Any]] = [
        {"unet": model.unet, "latents": latents, "timestep": Timestep(torch.tensor(801), 0), "conditioning": prompt}
        for prompt in prompts
    ]
    predict_together(calls)  # loads the weights
    torch.cuda.set_sync_debug_mode("error")
    try:
        predictions = predict_together(calls)
        apart = predict_together([calls[0], {**calls[1], "timestep": Timestep(torch.tensor(3), 1)}])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    positive, negative = pipeline.encode_prompt("a red apple", "cuda", 2, True)
    with torch.no_grad():
        expected = pipeline.unet(
            torch.cat([latents.samples] * 2),
            torch.tensor(801, device="cuda"),
            encoder_hidden_states=torch.cat([negative, positive]),
        ).sample
    assert torch.equal(torch.cat([prediction.sample for prediction in predictions]), expected)
    assert apart[1].sample.shape == latents.samples.shape
    assert vae_decode(model.vae, latents).pixels.device.type == "cuda"


@pytest.fixture
def _own_budget() -> Iterator[None]:
    weights.free_idle()
    yield
    for device in ("cuda", "cpu"):
        weights.set_limit(None, device)
    weights.free_idle()


def on_gpu(handle: ModelHandle, **changes: Any) -> Any:
    return replace(handle, device="cuda", dtype="float16", **changes)


def content(handle: ModelHandle) -> dict[str, torch.Tensor]:
    """The weights of a handle, on the CPU."""
    with weights.use(handle) as module:
        assert all(tensor.is_cuda for tensor in placement.tensors(module))
        return {name: value.cpu() for name, value in module.state_dict().items()}


@pytest.mark.usefixtures("_own_budget")
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_go_straight_to_the_device(tiny_model: TinyModel, part: str) -> None:
    pipeline, path = tiny_model()
    handle = on_gpu(getattr(load_model(path), part))
    expected = getattr(pipeline, part).state_dict()
    assert all(torch.equal(value, expected[name].to(value.dtype)) for name, value in content(handle).items())
    with weights.use(handle) as module:
        assert not hasattr(module, "_hf_hook")
    assert weights.report().bytes.keys() == {"cuda:0"}


@pytest.mark.usefixtures("_own_budget")
def test_the_bytes_counted_are_those_of_the_device(tiny_model: TinyModel) -> None:
    handle = on_gpu(load_model(tiny_model()[1]).unet)
    before = torch.cuda.memory_allocated()
    with weights.use(handle):
        counted, allocated = weights.held_bytes(), torch.cuda.memory_allocated() - before
    assert counted <= allocated <= counted + 512 * 1000  # the allocator gives each tensor whole blocks of 512 bytes
    weights.free_idle()
    assert torch.cuda.memory_allocated() == before


@pytest.mark.usefixtures("_own_budget")
@pytest.mark.parametrize("offload", ["", "cpu"])
def test_models_change_places_with_page_locked_memory(tiny_model: TinyModel, offload: str) -> None:
    options = Options(offload=offload).text()
    handles = [on_gpu(load_model(tiny_model(seed=seed)[1]).unet, options=options) for seed in (0, 1)]
    expected = [content(handle) for handle in handles]
    size = weights.held_bytes() // 2
    weights.free_idle()
    if not offload:
        weights.set_limit(size, "cuda")
    before = weights.report().loads
    for _ in range(3):
        for handle, wanted in zip(handles, expected, strict=True):
            found = content(handle)
            assert all(torch.equal(found[name], value) for name, value in wanted.items())
    report = weights.report()
    assert report.loads - before == 2
    assert report.bytes == {"cuda:0": size, "cpu": size}
    away = next(held for held in weights._memory._held.values() if held.place == "cpu")
    assert all(parameter.is_pinned() for parameter in away.module.parameters())


@pytest.mark.usefixtures("_own_budget")
def test_a_full_gpu_lets_idle_weights_go(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model, load, attempts = load_model(tiny_model()[1]), weights._load, []
    content(on_gpu(model.unet))

    def greedy(*given: Any) -> Any:
        attempts.append(weights.held_bytes())
        if len(attempts) == 1:
            torch.empty(1 << 46, dtype=torch.uint8, device="cuda")
        return load(*given)

    monkeypatch.setattr(weights, "_load", greedy)
    content(on_gpu(model.vae))
    assert attempts[0] > 0
    assert attempts[1] == 0


@pytest.mark.usefixtures("_own_budget")
@pytest.mark.parametrize("options", [Options("eager"), Options("sliced"), Options(channels_last=True)])
def test_options_do_not_change_what_comes_out(options: Options) -> None:
    handle = replace(load_model("random:sd15").unet, device="cuda", dtype="float32")
    sample, context = torch.randn(2, 4, 16, 16, device="cuda"), torch.randn(2, 7, 32, device="cuda")
    with torch.no_grad(), weights.use(handle) as base, weights.use(replace(handle, options=options.text())) as other:
        torch.testing.assert_close(
            other(sample, 801, context).sample, base(sample, 801, context).sample, atol=1e-3, rtol=1e-3
        )
