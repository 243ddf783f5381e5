"""Attention backends: another way to compute the same, on a module tree of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from graphcore import StepgraphError
from nodes import load_model
from nodes.models.adapters import patches
from nodes.models.memory import attention, weights
from nodes.models.options import Options
from nodes.types import ModelHandle

Call = Callable[[Any], torch.Tensor]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def predict(width: int) -> Call:
    return lambda unet: unet(random(2, 4, 16, 16), 801, random(2, 7, width)).sample


def masked(unet: Any) -> torch.Tensor:
    """With a mask over the context, of which the second picture may not see the end."""
    mask = torch.tensor([[1.0] * 7, [1.0] * 4 + [0.0] * 3])
    found: torch.Tensor = unet(random(2, 4, 16, 16), 801, random(2, 7, 32), encoder_attention_mask=mask).sample
    return found


def there_and_back(vae: Any) -> torch.Tensor:
    found: torch.Tensor = vae.decode(vae.encode(random(2, 3, 16, 16)).latent_dist.mean).sample
    return found


CALLS: dict[str, tuple[str, str, Call]] = {
    "unet": ("random:sd15", "unet", predict(32)),
    "unet masked": ("random:sd15", "unet", masked),
    "unet sd21": ("random:sd21", "unet", predict(40)),
    "unet ddpm": ("random:ddpm", "unet", lambda unet: unet(random(2, 3, 16, 16), 801).sample),
    "vae": ("random:sd15", "vae", there_and_back),
    "text": ("random:sd15", "text_encoder", lambda text: text(torch.arange(77)[None]).last_hidden_state),
}


@pytest.fixture(params=CALLS.values(), ids=CALLS.keys())
def case(request: pytest.FixtureRequest) -> tuple[ModelHandle, Call]:
    model, part, call = request.param
    return getattr(load_model(model), part), call


@pytest.mark.parametrize("backend", ["eager", "sliced"])
def test_backends_agree_and_leave_the_base_alone(case: tuple[ModelHandle, Call], backend: str) -> None:
    handle, call = case
    with weights.use(handle) as base, torch.no_grad():
        expected = call(base)
        with weights.use(replace(handle, options=Options(backend).text())) as other:
            torch.testing.assert_close(call(other), expected, atol=2e-5, rtol=1e-4)
            ways = {type(layer.processor).__name__ for layer in other.modules() if isinstance(layer, Attention)}
            assert ways <= {"AttnProcessor" if backend == "eager" else "Sliced"}
        assert torch.equal(call(base), expected)
        assert all(
            type(layer.processor) is AttnProcessor2_0 for layer in base.modules() if isinstance(layer, Attention)
        )


def test_what_surrounds_a_backend_is_diffusers(case: tuple[ModelHandle, Call], monkeypatch: pytest.MonkeyPatch) -> None:
    """`native` is the kernel that diffusers uses itself: through our processor, the result has the same bits."""
    handle, call = case
    called: list[str] = []
    dispatch = attention_dispatch.dispatch_attention_fn

    def watched(*given: Any, backend: str) -> Any:
        called.append(backend)
        return dispatch(*given, backend=backend)

    monkeypatch.setattr(attention_dispatch, "dispatch_attention_fn", watched)
    with weights.use(handle) as base, torch.no_grad():
        other = patches.copy_modules(base)
        attention.apply(other, "native")
        layers = sum(isinstance(layer, Attention) for layer in other.modules())
        expected = call(base)
        assert called == []
        assert torch.equal(call(other), expected)
        assert set(called) <= {"native"}
        assert len(called) >= layers or handle.class_name == "AutoencoderKL"


@pytest.mark.parametrize("backend", ["flash", "sage", "xformers"])
def test_missing_packages_are_named(backend: str) -> None:
    """None of them is installed with the tests."""
    handle = replace(load_model("random:sd15").unet, options=Options(backend).text())
    with pytest.raises(StepgraphError, match=f"`{backend}` cannot be used here.*Use `sdpa`"), weights.use(handle):
        pass


def test_text_encoders_keep_their_default_where_they_have_no_such_way() -> None:
    handle = load_model("random:sd15").text_encoder
    found = {}
    for backend in ("sdpa", "eager", "sliced"):
        with weights.use(replace(handle, options=Options(backend).text())) as module:
            found[backend] = module.config._attn_implementation
    assert found == {"sdpa": "sdpa", "eager": "eager", "sliced": "sdpa"}


def test_layers_of_an_adapter_keep_their_processor() -> None:
    class Own:
        """Stands for a processor with weights."""

    with weights.use(load_model("random:sd15").unet) as base:
        other = patches.copy_modules(base)
    layers = [layer for layer in other.modules() if isinstance(layer, Attention)]
    layers[0].set_processor(Own())
    attention.apply(other, "eager")
    assert [type(layer.processor).__name__ for layer in layers] == ["Own", *["AttnProcessor"] * (len(layers) - 1)]
