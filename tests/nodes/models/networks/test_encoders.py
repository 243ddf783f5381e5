"""The modules of latent diffusion that encode classes and maps; models with them, and of other families, in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nodes import load_model
from nodes.models import loading
from nodes.models.handles import settings
from nodes.models.memory import weights
from nodes.models.networks.encoders import ClassEmbedder, SpatialRescaler
from tests.parity.parts import parts


def test_a_class_is_one_row_of_the_table() -> None:
    """Keys and shapes of CompVis' ClassEmbedder: `embedding.weight`, a context of one token."""
    module = ClassEmbedder(embed_dim=6, n_classes=4)
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {"embedding.weight": (4, 6)}
    found = module(torch.tensor([3, 0]))
    assert torch.equal(found, module.embedding.weight[[3, 0]][:, None])


def test_a_map_is_averaged_and_its_channels_are_mixed() -> None:
    """Halving bilinearly is the mean of 2 x 2; a 1 x 1 convolution is a matrix product over channels."""
    module = SpatialRescaler(n_stages=2, in_channels=5, out_channels=3)
    weight = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert weight == {"channel_mapper.weight": (3, 5, 1, 1)}
    values = torch.randn(2, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    means = values.reshape(2, 5, 4, 4, 6, 4).mean((3, 5))
    expected = torch.einsum("oc,bchw->bohw", module.channel_mapper.weight[:, :, 0, 0], means)
    torch.testing.assert_close(module(values), expected)
    assert SpatialRescaler(n_stages=1, in_channels=5)(values).shape == (2, 5, 8, 12)


OTHER_NAMES = {
    "ldm_text2img": {"vae": "vqvae", "text_encoder": "bert"}, "ldm_class": {"vae": "vqvae"},
    "sdxl_refiner": {"text_encoder": "text_encoder_2", "tokenizer": "tokenizer_2"},
}  # fmt: skip


@pytest.mark.parametrize("name", ["sdxl", "sdxl_refiner", "ldm_text2img", "ldm_class", "ldm_semantic", "ldm", "ddpm"])
def test_every_family_is_read_from_a_folder(name: str, tmp_path: Path) -> None:
    """Written part by part by the libraries' own `save_pretrained`, with the part names of their pipelines."""
    index: dict[str, Any] = {"_class_name": "A pipeline"}
    for part, module in parts(f"random:{name}").items():
        if module is not None:
            place = OTHER_NAMES.get(name, {}).get(part, part)
            module.save_pretrained(tmp_path / place)
            index[place] = ["library", type(module).__name__]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    model, random = load_model(str(tmp_path)), load_model(f"random:{name}")
    assert model.unet.family == random.unet.family
    pairs = [(getattr(model, part), getattr(random, part)) for part in ("unet", "vae", "text_encoder", "encoder")]
    pairs.append((model.text_encoder.second, random.text_encoder.second))
    for found, expected in pairs:
        if expected is None or expected.class_name in ("", loading.PIXEL_SPACE):
            assert (found is None) == (expected is None)
            continue
        with weights.use(found) as one, weights.use(expected) as two:
            state = two.state_dict()
            assert all(value.equal(state[key]) for key, value in one.state_dict().items())
    if random.tokenizer.class_name:
        texts = [weights.tokenizer(one.tokenizer)("A red apple, xyz").input_ids for one in (model, random)]
        assert texts[0] == texts[1]
    for key in ("channels", "downsampling", "scaling_factor", "sample_size"):
        assert getattr(model.latent_space, key) == getattr(random.latent_space, key)
    kept = settings(model.scheduler.config)
    assert all(kept[key] == value for key, value in settings(random.scheduler.config).items() if key in kept)
