"""Classes as context and as labels: against the tables of the models, and diffusers' UNet."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from graphcore import InputError, TensorSpec
from nodes import class_vector, encode_class, load_model, unet
from nodes.conditioning import class_label
from nodes.models.memory import weights
from nodes.types import Conditioning, EncoderModel, Latents, LatentSpace, Timestep, UNetModel

SPACE = LatentSpace(4, 2, 0.18215, 16)


def _encoder() -> EncoderModel:
    return load_model("random:ldm_class").encoder


@pytest.mark.parametrize(("class_id", "row"), [(0, 0), (7, 7), (10, 10), (-1, 10)])
def test_the_context_is_the_row_of_the_table(class_id: int, row: int) -> None:
    with weights.use(_encoder()) as module:
        expected = module.embedding.weight[row]
        context = encode_class(_encoder(), class_id).context
    assert context is not None
    assert context.shape == (1, 1, 32)
    assert torch.equal(context[0, 0], expected)
    inferred = class_label.infer_encode(_encoder(), class_id)
    assert inferred is not None
    assert inferred.context == TensorSpec((1, 1, 32), "float32")


def _adm_unet(**changes: Any) -> UNetModel:
    """A UNet with a table of five classes."""
    known = load_model("random:sd15").unet
    config = {**json.loads(known.config), "num_class_embeds": 5, **changes}
    return replace(known, config=json.dumps(config), source="random:adm/unet", digest="adm")


@pytest.mark.parametrize(("class_id", "label"), [(2, 2), (-1, 4)])
def test_the_label_reaches_the_unet(class_id: int, label: int) -> None:
    handle, context = _adm_unet(), torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    latents = Latents(torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1)), SPACE)
    conditioning = class_vector(handle, class_id, Conditioning(context))
    found = unet(handle, latents, Timestep(torch.tensor(801), 0), conditioning).sample
    with weights.use(handle) as module, torch.no_grad():
        arguments = (latents.samples, 801, context.repeat(2, 1, 1))
        expected = module(*arguments, class_labels=torch.tensor([label] * 2)).sample
        other = module(*arguments, class_labels=torch.tensor([0] * 2)).sample
    assert torch.equal(found, expected)
    assert not torch.equal(found, other), "another class is another prediction"
    inferred = class_label.infer_vector(handle, class_id, conditioning)
    assert inferred is not None
    assert inferred.vector == TensorSpec((1,), "int64")


def test_classes_that_a_model_does_not_know_are_refused() -> None:
    for refuse in (class_label.infer_encode, encode_class):
        with pytest.raises(InputError, match=r"from 0 to 10, or -1.*got 11"):
            refuse(_encoder(), 11)
        with pytest.raises(InputError, match=r"an encoder of classes.*a model without one"):
            refuse(load_model("random:sd15").encoder, 0)
        with pytest.raises(InputError, match=r"ClassEmbedder.*got a SpatialRescaler"):
            refuse(load_model("random:ldm_semantic").encoder, 0)
    for refuse_label in (class_label.infer_vector, class_vector):
        with pytest.raises(InputError, match=r"from 0 to 4, or -1.*got 5"):
            refuse_label(_adm_unet(), 5)
        with pytest.raises(InputError, match=r"one that takes no class.*encode_class"):
            refuse_label(load_model("random:sd15").unet, 0)
        with pytest.raises(InputError, match="`class_embed_type` timestep"):
            refuse_label(_adm_unet(class_embed_type="timestep"), 0)
