"""Listing and checking nodes must not load what running them needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "safetensors", "tokenizers")


@pytest.mark.parametrize(
    "work",
    [
        "import nodes",  # all nodes, and what they import
        "from nodes.models import loading; model = loading.infer('builtin:emoji'); "
        "from nodes.conditioning import text; tokens = text.infer_tokenize(model.tokenizer, 'a cat'); "
        "context = text.infer_encode(model.text_encoder, tokens); "
        "from graphcore import TensorSpec; from nodes.types import Latents; import sys; "
        "latents = Latents(TensorSpec((1, 4, 16, 16)), model.latent_space); "
        "infer = sys.modules['nodes.sampling.unet'].infer; "
        "assert infer(model.unet, latents, None, context).prediction_type == 'v_prediction'; "
        "assert sys.modules['nodes.pictures.vae'].infer_decode(model.vae, latents).pixels.shape == (1, 3, 64, 64)",
    ],
    ids=["import", "check a model"],
)
def test_nothing_heavy_is_imported(work: str) -> None:
    code = f"{work}; import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
