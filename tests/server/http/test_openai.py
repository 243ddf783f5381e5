"""The official client of OpenAI, unchanged, against our server."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

from server.http import glimpses
from tests.server.http.house import Running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0, timeout=300) as made:
        yield made


def picture(data: Any) -> Image.Image:
    made = Image.open(io.BytesIO(base64.b64decode(data.b64_json)))
    made.load()
    return made


def test_the_models_are_workflows(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"txt2img", "img2img"} <= set(names)
    assert "denoise" not in names


def test_generate(client: openai.OpenAI) -> None:
    made = client.images.generate(
        model="txt2img", prompt="a cat", n=2, size="64x64", extra_body={"steps": 2, "seed": 3}
    )
    assert [picture(one).size for one in made.data or []] == [(64, 64), (64, 64)]
    again = client.images.generate(
        model="dall-e-3", prompt="a cat", n=2, size="64x64", extra_body={"steps": 2, "seed": 3}
    )
    first, second = ([picture(one).tobytes() for one in reply.data or []] for reply in (made, again))
    assert first == second
    assert first[0] != first[1]


def test_edit(client: openai.OpenAI) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    made = client.images.edit(
        model="img2img", image=("red.png", file.getvalue()), prompt="a tomato", extra_body={"steps": 4, "strength": 0.5}
    )
    assert picture((made.data or [])[0]).size == (64, 64)


def test_stream(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            model="txt2img", prompt="a dog", stream=True, partial_images=1, extra_body={"steps": 3, "seed": 9}
        )
    )
    assert events[-1].type == "image_generation.completed"
    assert all(event.type == "image_generation.partial_image" for event in events[:-1])
    assert picture(events[-1]).size == (64, 64)


def test_partial_pictures_are_spread_over_the_steps(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            model="txt2img", prompt="a tree", stream=True, partial_images=3, extra_body={"steps": 8, "seed": 11}
        )
    )
    *partial, last = events
    assert [event.type for event in events] == [*["image_generation.partial_image"] * 3, "image_generation.completed"]
    assert [getattr(event, "partial_image_index", None) for event in partial] == [0, 1, 2]
    pictures = [picture(event).tobytes() for event in partial]
    assert len(set(pictures)) == 3
    assert picture(last).size == (64, 64)


@pytest.mark.parametrize(
    ("total", "most", "chosen"),
    [(20, 3, [4, 9, 14]), (3, 1, [1]), (2, 3, [0]), (1, 3, []), (0, 2, []), (8, 3, [1, 3, 5]), (9, 0, [])],
)
def test_which_steps_are_shown(total: int, most: int, chosen: list[int]) -> None:
    assert glimpses.spread(total, most) == chosen


def test_a_client_that_leaves_ends_its_job(server: Running) -> None:
    asked = {"prompt": "a dog", "stream": True, "partial_images": 1, "size": "128x128", "steps": 900, "seed": 12}
    request = urllib.request.Request(
        f"{server.url}/v1/images/generations", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120):
        (job,) = server.ask("/api/v1/jobs?limit=1").json["jobs"]
        server.until(lambda: server.ask(f"/api/v1/jobs/{job['id']}").json["state"] == "running")
    assert server.ended(job["id"])["state"] == "cancelled"


def test_errors_are_those_that_the_client_knows(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no workflow"):
        client.images.generate(model="nobody", prompt="x")
    with pytest.raises(openai.UnprocessableEntityError, match="steps"):
        client.images.generate(model="txt2img", prompt="x", extra_body={"steps": 0})
    with pytest.raises(openai.APIStatusError, match="only pictures"):
        client.images.edit(model="img2img", image=("x.png", b"no picture"), prompt="x")
