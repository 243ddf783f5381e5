"""Maps of classes: files, sizes, and the channels that the model is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch.nn import functional

from graphcore import InputError, TensorSpec
from nodes import encode_semantic_map, load_label_map, load_model, resize_label_map
from nodes.models.memory import weights
from nodes.pictures import labels as drawing
from nodes.types import LabelMap, LatentSpace

semantic_map = sys.modules["nodes.conditioning.semantic_map"]


def _ids(height: int = 16, width: int = 24, classes: int = 5, batch: int = 1) -> torch.Tensor:
    return torch.randint(classes, (batch, height, width), generator=torch.Generator().manual_seed(0))


def _saved(path: Path, ids: torch.Tensor, mode: str) -> Path:
    values = ids[0].numpy()
    if mode == "I;16":
        Pillow.fromarray(values.astype(np.uint16)).save(path)
        return path
    picture = Pillow.fromarray(values.astype(np.uint8))
    if mode == "P":
        picture = Pillow.fromarray(values.astype(np.uint8), "P")
        picture.putpalette([7 * entry % 256 for entry in range(768)])
    picture.save(path)
    return path


@pytest.mark.parametrize(("mode", "classes"), [("L", 200), ("P", 200), ("I;16", 40000)])
def test_the_values_of_a_picture_are_the_classes(tmp_path: Path, mode: str, classes: int) -> None:
    ids = _ids(classes=classes)
    file = _saved(tmp_path / "map.png", ids, mode)
    assert torch.equal(load_label_map(file).ids, ids)
    assert semantic_map.infer_load(file).ids == TensorSpec((1, 16, 24), "int64")


def test_pictures_in_colours_are_refused(tmp_path: Path) -> None:
    Pillow.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    for refuse in (semantic_map.infer_load, load_label_map):
        with pytest.raises(InputError, match=r"class numbers.*in colours \(RGB\).*palette"):
            refuse(tmp_path / "photo.png")
        with pytest.raises(InputError, match="no such file"):
            refuse(tmp_path / "absent.png")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4))
def test_resizing_makes_no_new_classes(height: int, width: int, times: int) -> None:
    ids = _ids(height, width, classes=9)
    larger = resize_label_map(LabelMap(ids), width * times, height * times)
    assert torch.equal(larger.ids, ids.repeat_interleave(times, 1).repeat_interleave(times, 2))
    assert torch.equal(resize_label_map(larger, width, height).ids, ids), "and back"


def test_the_size_may_be_that_of_the_model() -> None:
    space = LatentSpace(3, 4, 1.0, 16)
    found = resize_label_map(LabelMap(_ids()), 0, 0, space)
    assert found.ids.shape == (1, 64, 64)
    assert semantic_map.infer_resize(LabelMap(_ids()), 0, 0, space).ids == TensorSpec((1, 64, 64), "int64")
    same = LabelMap(_ids())
    assert resize_label_map(same) is same


@pytest.mark.parametrize(("height", "width", "batch"), [(64, 64, 1), (48, 80, 2)])
def test_channels_are_one_hot_shrunk_and_mixed(height: int, width: int, batch: int) -> None:
    model = load_model("random:ldm_semantic")
    ids = _ids(height, width, batch=batch)
    concat = encode_semantic_map(model.encoder, LabelMap(ids)).concat
    one_hot = functional.one_hot(ids, 5).permute(0, 3, 1, 2).float()
    for _ in range(2):
        one_hot = functional.interpolate(one_hot, scale_factor=0.5, mode="bilinear")
    with weights.use(model.encoder) as module:
        expected = functional.conv2d(one_hot, module.channel_mapper.weight)
    assert concat is not None
    assert torch.equal(concat, expected)
    assert concat.shape == (batch, 3, height // model.latent_space.downsampling, width // 4)
    inferred = semantic_map.infer_encode(model.encoder, LabelMap(ids))
    assert inferred.concat == TensorSpec(tuple(concat.shape), "float32")


def test_unknown_classes_and_other_encoders_are_refused() -> None:
    model = load_model("random:ldm_semantic")
    with pytest.raises(InputError, match=r"classes from 0 to 4.*got class 7"):
        encode_semantic_map(model.encoder, LabelMap(_ids(classes=8)))
    refusals: list[Any] = [semantic_map.infer_encode, encode_semantic_map]
    for refuse in refusals:
        with pytest.raises(InputError, match=r"SpatialRescaler.*got a ClassEmbedder"):
            refuse(load_model("random:ldm_class").encoder, LabelMap(_ids()))


def test_every_class_has_a_colour_of_its_own() -> None:
    ids = torch.arange(182)[None, None]
    found = drawing.colours(ids)
    assert found.shape == (1, 3, 1, 182)
    assert len({tuple(colour) for colour in found[0, :, 0].T.tolist()}) == 182
    assert torch.equal(drawing.colours(ids[..., 5:7])[..., 0], found[..., 5]), "whatever else is on the map"
    assert semantic_map.preview(LabelMap(_ids())).startswith(b"\x89PNG")
