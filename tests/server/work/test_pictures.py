"""Any tensor as a picture: what is bright in it is bright to see, and a value's own words are told."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from graphcore import Engine, Workflow
from nodes import types
from server.work import looking, pictures


def seen(tensor: Any) -> Any:
    """The picture of a tensor, as numbers."""
    png = pictures.draw(tensor)
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def test_latents_in_false_colours() -> None:
    samples = torch.zeros(2, 4, 8, 8)
    for channel in range(3):
        samples[0, channel, :, channel] = 3.0
    samples[0, 3] = torch.arange(8)
    shown = seen(samples)
    assert shown.shape == (128, 128, 3)
    for channel in range(3):
        assert shown[0, 16 * channel : 16 * channel + 16, channel].tolist() == [255] * 16
        assert shown[0, 16 * channel + 16 :, channel].max() == 0


def test_one_channel_is_grey() -> None:
    ramp = torch.linspace(-1, 1, 200).expand(1, 1, 200, 200)
    shown = seen(ramp)
    assert shown.shape == (200, 200)
    assert (shown[0, 0], shown[0, -1]) == (0, 255)
    assert (np.diff(shown[0]) >= 0).all()


def test_few_wild_values_leave_the_others_visible() -> None:
    values = torch.linspace(0, 1, 10_000).reshape(1, 1, 100, 100).clone()
    values[0, 0, 0, 0], values[0, 0, 0, 1] = 1e9, float("nan")
    shown = seen(values)
    assert shown[2:, 1:].std() > 50


@pytest.mark.parametrize(("level", "shade"), [(0.0, 0), (0.5, 128), (1.0, 255), (7.0, 255)])
def test_a_constant_is_no_noise(level: float, shade: int) -> None:
    assert set(seen(torch.full((1, 1, 4, 4), level)).flatten().tolist()) == {shade}


def test_a_small_mark_in_a_mask_shows() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[0, 0, 10, 20] = 1
    shown = seen(mask)
    assert shown[20, 40] == 255
    assert (shown == 255).sum() == 4


def test_tokens_by_width_are_a_map_of_heat() -> None:
    tokens = torch.zeros(1, 7, 3000)
    tokens[0, 4] = 1
    shown = seen(tokens)
    assert shown.shape[0] >= 128
    assert 128 <= shown.shape[1] <= pictures.MOST
    rows = shown.sum(axis=(1, 2))
    assert rows.argmax() * 7 // len(rows) == 4


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4, 5), (0, 4), (1, 0, 4, 4)])
def test_what_says_nothing_to_the_eye(shape: tuple[int, ...]) -> None:
    assert pictures.draw(torch.zeros(shape)) is None


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_every_kind_of_number(kind: torch.dtype) -> None:
    assert seen(torch.eye(4).to(kind)[None]).max() > 200


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, dict[str, str]]:
    """An engine that made a picture, and the key of each call."""
    engine = Engine(device="cpu", cache=tmp_path_factory.mktemp("cache"))
    path = Path(__file__).parents[3] / "workflows" / "txt2img.json"
    running = engine.start(Workflow.load(path), {"steps": 1, "prompt": "a red apple"})
    return engine, {event.node: event.key for event in running if event.event == "finished"}


def output(engine: Engine, key: str, *, picture: bool = True) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = looking.look(engine, key, picture=picture)["outputs"]
    return found


def test_every_output_of_a_call_has_its_own_key(run: tuple[Engine, dict[str, str]]) -> None:
    engine, keys = run
    latents, solver = output(engine, keys["denoise.loop[0].step"])
    assert (latents["type"], latents["fields"]["space.channels"]) == ("Latents", 4)
    assert Image.open(io.BytesIO(pictures.enlarged(base64.b64decode(latents["png"])))).size == (128, 128)
    assert output(engine, "00" + keys["denoise.loop[0].step"]) == [latents]
    assert output(engine, "01" + keys["denoise.loop[0].step"]) == [solver]
    assert output(engine, "02" + keys["denoise.loop[0].step"]) == []


def test_tokens_say_their_words(run: tuple[Engine, dict[str, str]]) -> None:
    engine, keys = run
    (tokens,) = output(engine, keys["tokens"], picture=False)
    assert tokens["fields"]["text"] == "a red apple"
    assert " ".join(tokens["fields"]["words"]) == "a red apple"


def test_models_have_no_picture(run: tuple[Engine, dict[str, str]]) -> None:
    engine, keys = run
    assert not [one for one in output(engine, keys["model"]) if "png" in one]


def test_conditionings_and_pictures_are_drawn(run: tuple[Engine, dict[str, str]]) -> None:
    engine, keys = run
    for node in ("text", "noise", "image", "denoise.loop[0].predict.cond"):
        assert "png" in output(engine, keys[node])[0], node


def test_a_value_of_plain_parts_is_told() -> None:
    space = types.LatentSpace(4, 8, 0.5, 64)
    assert looking._describe(space, None)["fields"]["scaling_factor"] == 0.5


@pytest.mark.parametrize(("size", "shown"), [((3, 2), (192, 128)), ((128, 300), (128, 300)), ((1, 900), (1, 900))])
def test_small_pictures_are_enlarged(size: tuple[int, int], shown: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.radial_gradient("L").resize(size).save(file, "PNG")
    made = pictures.enlarged(file.getvalue())
    with Image.open(io.BytesIO(made)) as picture, Image.open(file) as before:
        assert picture.size == shown
        assert picture.resize(size, Image.Resampling.NEAREST).tobytes() == before.tobytes()
    assert (made == file.getvalue()) == (size == shown)
