"""Patched parts: new values beside a base that stays as it is, and all kinds together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from graphcore import StepgraphError
from graphcore.check import deep
from nodes import load_ip_adapter, load_lora, load_model, load_textual_inversion
from nodes.models.adapters import ip_adapter, lora, patches
from nodes.models.handles import identity
from nodes.models.memory import weights
from nodes.types import Patch
from tests.parity.rows.adapters import content, pipeline
from tests.parity.shipped import REGISTRY, workflow

UNKNOWN = Patch("hypernetwork", "x", "y")


def test_a_copy_has_modules_of_its_own_and_the_tensors_of_the_base() -> None:
    base = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    copied = patches.copy_modules(base)
    assert copied[0] is not base[0]  # type: ignore[index]
    assert [id(one) for one in copied.parameters()] == [id(one) for one in base.parameters()]
    assert [id(one) for one in copied.buffers()] == [id(one) for one in base.buffers()]


def test_a_kind_that_does_not_exist() -> None:
    model = load_model("random:sd15")
    with pytest.raises(StepgraphError, match="hypernetwork"), weights.use(replace(model.unet, patches=(UNKNOWN,))):
        pass
    with pytest.raises(StepgraphError, match="hypernetwork"):
        weights.tokenizer(replace(model.tokenizer, patches=(UNKNOWN,)))


def called(unet: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in ((1, 4, 16, 16), (1, 77, 32), (1, 1, 32))]
    with torch.no_grad():
        found: torch.Tensor = unet(drawn[0], 5, drawn[1], added_cond_kwargs={"image_embeds": [drawn[2]]})[0]
    return found


@pytest.mark.parametrize("lora_first", [True, False])
def test_lora_and_ip_adapter_together_equal_diffusers(lora_first: bool) -> None:
    """In whichever order they were loaded, here and there."""
    model, made = load_model("random:sd15"), pipeline("sd15")
    made.load_lora_weights(content(lora.read("random:lora_sd15")), adapter_name="one")
    made.set_adapters(["one"], [0.7])
    held = content(ip_adapter.read("random:ip_adapter_sd15"))
    made.unet._load_ip_adapter_weights(
        [
            {
                part: {key.removeprefix(f"{part}."): value for key, value in held.items() if key.startswith(part)}
                for part in ("image_proj", "ip_adapter")
            }
        ]
    )
    made.set_ip_adapter_scale(0.6)
    unet = model.unet
    for step in ("lora", "ip") if lora_first else ("ip", "lora"):
        if step == "lora":
            unet = load_lora("random:lora_sd15", unet, model.text_encoder, 0.7).unet
        else:
            unet = load_ip_adapter("random:ip_adapter_sd15", unet, 0.6)
    with weights.use(unet) as module:
        assert called(module).equal(called(made.unet))


def test_a_learned_word_and_a_lora_in_one_text_encoder() -> None:
    model = load_model("random:sd15")
    word = load_textual_inversion("random:textual_inversion", model.tokenizer, model.text_encoder)
    one = load_lora("random:lora_sd15", model.unet, word.text_encoder).text_encoder
    adapted = load_lora("random:lora_sd15", model.unet, model.text_encoder).text_encoder
    other = load_textual_inversion("random:textual_inversion", model.tokenizer, adapted).text_encoder
    ids = torch.tensor([[524, 320, 525, 526, 523]])
    with weights.use(one) as first, weights.use(other) as second, torch.no_grad():
        assert first(ids)[0].equal(second(ids)[0])
    assert identity(one) != identity(other)


@pytest.mark.parametrize("name", ["lora", "textual_inversion", "ip_adapter"])
def test_the_deep_check_runs_patched_models(name: str) -> None:
    assert any(row.traced for row in deep.check(workflow(name), REGISTRY, {}))


def test_patches_go_into_modules_without_content() -> None:
    model = load_model("random:sd15")
    unet = load_ip_adapter("random:ip_adapter_plus_sd15", model.unet)
    word = load_textual_inversion("random:textual_inversion", model.tokenizer, model.text_encoder)
    with FakeTensorMode(), weights.pretend(), weights.use(unet) as module, weights.use(word.text_encoder) as encoder:
        assert isinstance(encoder.get_input_embeddings().weight, FakeTensor)
        assert encoder.get_input_embeddings().weight.shape == (527, 32)
        assert all(isinstance(parameter, FakeTensor) for parameter in module.parameters())
        assert module.encoder_hid_proj is not None
