"""On a GPU: the same nodes, half precision, and a UNet call for which the host waits nowhere."""

from __future__ import annotations

import sys

import pytest
import torch

from graphcore.runtime import Runtime, _runtime
from nodes import encode_text, load_model, tokenize, vae_decode
from nodes.types import Latents, Timestep
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
    calls = [
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
