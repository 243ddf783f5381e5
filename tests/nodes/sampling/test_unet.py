"""The UNet node against the module itself and against the pipeline's concatenated call, bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from graphcore import InputError, TensorSpec
from graphcore.declare.node import declared
from nodes import encode_text, load_model, tokenize, unet
from nodes.models import unet_inputs
from nodes.types import Conditioning, Latents, LatentSpace, NoisePred, Timestep, UNetModel
from tests.nodes import tiny
from tests.nodes.conftest import TinyModel

unet_module = sys.modules["nodes.sampling.unet"]
SPACE = LatentSpace(4, 2, 0.18215, 16)
WIDTH = tiny.WIDTH


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _latents(batch: int = 1, channels: int = 4, size: int = 16, seed: int = 0) -> Latents:
    return Latents(_noise(batch, channels, size, size, seed=seed), SPACE)


def _context(batch: int = 1, seed: int = 1) -> torch.Tensor:
    return _noise(batch, 77, WIDTH, seed=seed)


def _at(timestep: float = 801) -> Timestep:
    return Timestep(torch.tensor(timestep), 0)


def _call(
    handle: UNetModel, latents: Latents, conditioning: Conditioning, timestep: Timestep | None = None
) -> dict[str, Any]:
    return {"unet": handle, "latents": latents, "timestep": timestep or _at(), "conditioning": conditioning}


def test_guidance_in_one_pass_is_the_pipelines_call(tiny_model: TinyModel) -> None:
    pipeline, path = tiny_model()
    model = load_model(path)
    prompts = [encode_text(model.text_encoder, tokenize(model.tokenizer, text)) for text in ("", "a red apple")]
    positive, negative = pipeline.encode_prompt("a red apple", "cpu", 3, True)
    latents = _latents(3)
    with torch.no_grad():
        expected = pipeline.unet(
            torch.cat([latents.samples] * 2), _at().value, encoder_hidden_states=torch.cat([negative, positive])
        ).sample
    predictions = unet_module.predict_together([_call(model.unet, latents, prompt) for prompt in prompts])
    assert torch.equal(torch.cat([prediction.sample for prediction in predictions]), expected)
    assert {prediction.prediction_type for prediction in predictions} == {"epsilon"}


@pytest.mark.parametrize("timestep", [801, 1, 500.25])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_one_call_is_the_modules_call(tiny_model: TinyModel, timestep: float, prediction_type: str) -> None:
    pipeline, path = tiny_model(prediction_type)
    handle, latents, context = load_model(path).unet, _latents(2), _context(2)
    prediction = unet(handle, latents, _at(timestep), Conditioning(context))
    with torch.no_grad():
        expected = pipeline.unet(latents.samples, torch.tensor(timestep), encoder_hidden_states=context).sample
    assert torch.equal(prediction.sample, expected)
    assert prediction.prediction_type == prediction_type
    assert not prediction.sample.requires_grad


WAYS: list[tuple[str, dict[str, Any], Callable[[], Conditioning], Callable[[torch.Tensor], dict[str, Any]]]] = [
    (
        "context and mask", {},
        lambda: Conditioning(_context(), context_mask=(torch.arange(77) < 9)[None]),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1),
                   "encoder_attention_mask": (torch.arange(77) < 9)[None].repeat(2, 1)},
    ),
    (
        "class label", {"num_class_embeds": 10},
        lambda: Conditioning(_context(), vector=torch.tensor([7])),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1), "class_labels": torch.tensor([7, 7])},
    ),
    (
        "projected vector", {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 6},
        lambda: Conditioning(_context(), vector=_noise(2, 6)),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1), "class_labels": _noise(2, 6)},
    ),
    (
        "pooled text and sizes",
        {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 58},
        lambda: Conditioning(_context(), vector=_noise(1, 10), time_ids=torch.tensor([[32, 32, 0, 0, 32, 48.0]])),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1), "added_cond_kwargs": {
            "text_embeds": _noise(1, 10).repeat(2, 1), "time_ids": torch.tensor([[32, 32, 0, 0, 32, 48.0]] * 2)}},
    ),
    (
        "text beside the time embedding", {"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
        lambda: Conditioning(_context()),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1)},
    ),
    (
        "residuals", {},
        lambda: Conditioning(_context(), residuals=_residuals()),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1),
                   "down_block_additional_residuals": tuple(r.repeat(2, 1, 1, 1) for r in _residuals()[:-1]),
                   "mid_block_additional_residual": _residuals()[-1].repeat(2, 1, 1, 1)},
    ),
    (
        "concat", {"in_channels": 9},
        lambda: Conditioning(_context(), concat=_noise(1, 5, 16, 16, seed=5)),
        lambda x: {"encoder_hidden_states": _context().repeat(2, 1, 1),
                   "sample": torch.cat([x, _noise(1, 5, 16, 16, seed=5).repeat(2, 1, 1, 1)], dim=1)},
    ),
]  # fmt: skip


def _residuals() -> tuple[torch.Tensor, ...]:
    shapes = ((8, 16), (8, 16), (8, 8), (16, 8), (16, 8))
    return tuple(_noise(1, channels, size, size, seed=40 + n) for n, (channels, size) in enumerate(shapes))


@pytest.mark.parametrize(
    ("options", "conditioning", "expected"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS]
)
def test_each_way_of_conditioning(
    tiny_model: TinyModel, options: dict[str, Any], conditioning: Callable[[], Conditioning], expected: Any
) -> None:
    pipeline, path = tiny_model(unet=options)
    handle, latents = load_model(path).unet, _latents(2)
    arguments = {"sample": latents.samples, "timestep": _at().value, **expected(latents.samples)}
    with torch.no_grad():
        oracle = pipeline.unet(**arguments).sample
    assert torch.equal(unet(handle, latents, _at(), conditioning()).sample, oracle)
    inferred = unet_module.infer(handle, latents, _at(), conditioning())
    assert inferred.sample.shape == oracle.shape
    pair = unet_module.predict_together([_call(handle, latents, conditioning())] * 2)
    for prediction in pair:  # rows of a larger batch: other kernels, other last bits
        torch.testing.assert_close(prediction.sample, oracle, rtol=1e-4, atol=1e-5)


def test_every_field_reaches_the_unet(tiny_model: TinyModel) -> None:
    _, path = tiny_model(unet={"num_class_embeds": 10})
    handle, latents = load_model(path).unet, _latents()
    full = Conditioning(_context(), vector=torch.tensor([7]), context_mask=torch.ones(1, 77), residuals=_residuals())
    base = unet(handle, latents, _at(), full).sample
    half = (torch.arange(77) < 40).float()[None]
    others = [
        replace(full, context=_context(seed=2)), replace(full, vector=torch.tensor([3])),
        replace(full, context_mask=half), replace(full, residuals=tuple(2 * r for r in _residuals())),
    ]  # fmt: skip
    for other in others:
        assert not torch.equal(unet(handle, latents, _at(), other).sample, base)


def test_different_timesteps_and_batches_share_a_pass(tiny_model: TinyModel) -> None:
    pipeline, path = tiny_model()
    handle = load_model(path).unet
    calls = [
        _call(handle, _latents(2, seed=3), Conditioning(_context()), _at(900)),
        _call(handle, _latents(1, seed=4), Conditioning(_context(seed=6)), _at(20)),
    ]
    with torch.no_grad():
        oracle = pipeline.unet(
            torch.cat([call["latents"].samples for call in calls]), torch.tensor([900, 900, 20]),
            encoder_hidden_states=torch.cat([_context().repeat(2, 1, 1), _context(seed=6)]),
        ).sample  # fmt: skip
    first, second = unet_module.predict_together(calls)
    assert torch.equal(torch.cat([first.sample, second.sample]), oracle)
    assert first.sample.untyped_storage().nbytes() == first.sample.nbytes  # the one does not keep the other in memory
    for call, prediction in zip(calls, (first, second), strict=True):
        torch.testing.assert_close(prediction.sample, unet(**call).sample, rtol=1e-4, atol=1e-5)


def test_calls_group_by_weights_shapes_and_kind_of_conditioning(tiny_model: TinyModel) -> None:
    first, second = (load_model(tiny_model(seed=seed)[1]).unet for seed in (0, 1))
    base = _call(first, _latents(), Conditioning(_context()))
    like = [
        _call(first, _latents(3, seed=9), Conditioning(_context(3, seed=8)), _at(3)),
        _call(load_model(tiny_model()[1]).unet, _latents(), Conditioning(_context())),
    ]
    unlike = [
        _call(second, _latents(), Conditioning(_context())),
        _call(replace(first, dtype="float16"), _latents(), Conditioning(_context())),
        _call(replace(first, device="cuda"), _latents(), Conditioning(_context())),
        _call(first, _latents(size=8), Conditioning(_context())),
        _call(first, _latents(), Conditioning(_context()[:, :60])),
        _call(first, _latents(), Conditioning(_context(), context_mask=torch.ones(1, 77))),
        _call(first, _latents(), Conditioning(_context(), residuals=_residuals())),
        _call(first, _latents(), Conditioning(_context()), _at(3.0)),
    ]
    batch = declared(unet).batch  # type: ignore[union-attr]
    assert batch is not None
    assert {batch.group(call) for call in like} == {batch.group(base)}
    assert len({batch.group(call) for call in [base, *unlike]}) == len(unlike) + 1


def test_short_memory_falls_back_to_single_calls(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = load_model(tiny_model()[1]).unet
    calls = [_call(handle, _latents(seed=n), Conditioning(_context(seed=n))) for n in range(3)]
    forward, sizes = unet_module._forward, []

    def small(taken: Sequence[Any]) -> list[NoisePred]:
        sizes.append(len(taken))
        if len(taken) > 1:
            raise torch.OutOfMemoryError("no room")
        return forward(taken)  # type: ignore[no-any-return]

    monkeypatch.setattr(unet_module, "_forward", small)
    predictions = unet_module.predict_together(calls)
    assert sizes == [3, 1, 1, 1]
    for call, prediction in zip(calls, predictions, strict=True):
        assert torch.equal(prediction.sample, unet(**call).sample)
    monkeypatch.setattr(unet_module, "_forward", lambda taken: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
    with pytest.raises(torch.OutOfMemoryError):
        unet_module.predict_together(calls[:1])


def test_inputs_are_not_written_to(tiny_model: TinyModel) -> None:
    handle = load_model(tiny_model()[1]).unet
    latents, conditioning, timestep = _latents(2), Conditioning(_context(), residuals=_residuals()), _at()
    tensors = (latents.samples, conditioning.context, timestep.value, *(conditioning.residuals or ()))
    versions = [tensor._version for tensor in tensors if tensor is not None]
    unet_module.predict_together([_call(handle, latents, conditioning, timestep)] * 2)
    assert [tensor._version for tensor in tensors if tensor is not None] == versions


NINE = {"in_channels": 9}
CLASSES = {"num_class_embeds": 10}
SDXL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 58}
HERE, AT = "conditioning", "latents"
TWO_D = Latents(torch.zeros(4, 16, 16), SPACE)
REFUSALS: list[tuple[dict[str, Any], Latents, Conditioning, str, str]] = [
    ({}, _latents(), Conditioning(_noise(1, 77, 64)), HERE, r"\(batch, tokens, 32\), got \(1, 77, 64\).*together"),
    ({}, _latents(), Conditioning(_noise(1, WIDTH)), HERE, r"context \(batch, tokens, 32\)"),
    ({}, _latents(), Conditioning(), HERE, r"context of width 32.*`encode_text` makes one"),
    ({}, _latents(), Conditioning(_context(), _noise(1, 5)), HERE, r"mask \(batch, 77\).*got \(1, 5\)"),
    ({}, _latents(channels=8), Conditioning(_context()), AT, r"\(batch, 4, height, width\), got \(1, 8, 16, 16\)"),
    ({}, TWO_D, Conditioning(_context()), AT, r"got \(4, 16, 16\)"),
    (NINE, _latents(), Conditioning(_context()), AT, r"5 channels more.*`concat`"),
    (NINE, _latents(), Conditioning(_context(), concat=_noise(1, 4, 16, 16)), HERE, r"5 channels"),
    (NINE, _latents(), Conditioning(_context(), concat=_noise(1, 5, 8, 8)), HERE, r"\(16, 16\), got \(1, 5, 8, 8\)"),
    ({}, _latents(), Conditioning(_context(), concat=_noise(1, 5, 16, 16)), HERE, r"`concat` with 0 channels"),
    (CLASSES, _latents(), Conditioning(_context()), HERE, r"`vector` \(class labels.*class-conditional"),
    ({}, _latents(), Conditioning(_context(), vector=torch.tensor([1])), HERE, r"without `vector`"),
    ({}, _latents(), Conditioning(_context(), time_ids=_noise(1, 6)), HERE, r"without `time_ids`"),
    (SDXL, _latents(), Conditioning(_context()), HERE, r"without `vector` and `time_ids`"),
    (SDXL, _latents(), Conditioning(_context(), vector=_noise(1, 10)), HERE, r"without `time_ids`"),
    (SDXL, _latents(), Conditioning(_context(), None, None, _noise(1, 9), _noise(1, 6)), HERE, r"vector \(batch, 10\)"),
    ({}, _latents(), Conditioning(_context(), residuals=_residuals()[:-1]), HERE, r"5 residuals.*got 4"),
    ({}, _latents(3), Conditioning(_context(2)), HERE, r"one `context` for all 3.*got 2"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "latents", "conditioning", "port", "message"), REFUSALS)
def test_wrong_models_are_refused_before_and_in_the_run(
    tiny_model: TinyModel,
    options: dict[str, Any],
    latents: Latents,
    conditioning: Conditioning,
    port: str,
    message: str,
) -> None:
    handle = load_model(tiny_model(unet=options)[1]).unet
    described = Latents(TensorSpec(tuple(latents.samples.shape)), SPACE)  # type: ignore[arg-type]
    for call in (
        lambda: unet_module.infer(handle, described, None, conditioning),
        lambda: unet(handle, latents, _at(), conditioning),
    ):
        with pytest.raises(InputError, match=f"(?s){message}") as caught:
            call()
        assert caught.value.port == port
        assert caught.value.expected
        assert caught.value.got


def test_what_is_not_known_passes(tiny_model: TinyModel) -> None:
    handle = load_model(tiny_model()[1]).unet
    unknown = Latents(TensorSpec((None, 4, None, None)), SPACE)  # type: ignore[arg-type]
    context = Conditioning(TensorSpec((None, None, WIDTH)))  # type: ignore[arg-type]
    inferred = unet_module.infer(handle, unknown, None, context)
    assert inferred.sample == TensorSpec((None, 4, None, None))
    assert unet_module.infer() is None
    assert unet_module.infer(unet=handle) is None
    assert unet_module.infer(latents=unknown) is None


@pytest.mark.parametrize("layers", [1, 2, (2, 1)])
def test_the_number_of_residuals_is_that_of_the_skip_connections(layers: Any) -> None:
    module = tiny.tiny_unet(layers_per_block=layers)
    skips = 1 + sum(len(block.resnets) + len(block.downsamplers or ()) for block in module.down_blocks)
    assert unet_inputs.residual_count(module.config) == skips
