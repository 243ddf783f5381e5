"""What the server says of the jobs that a page started: the truth that the page has to agree with."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.server.http.house import ask


def jobs_of(url: str) -> list[Any]:
    """The jobs that the server knows, the newest first."""
    found: list[Any] = ask(f"{url}/api/v1/jobs?limit=100").json["jobs"]
    return found


def events_of(url: str, job: str) -> list[dict[str, Any]]:
    """All events of a job, once it has ended: the stream ends with it."""
    body = ask(f"{url}/api/v1/jobs/{job}/events").body.decode()
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]


def computed(url: str, job: str) -> set[str]:
    """The calls that a job computed: everything else came from the cache, or was not needed."""
    return {one["node"] for one in events_of(url, job) if one.get("event") == "started"}


def steps_of(url: str, job: str, loop: str) -> set[int]:
    """The iterations of a loop in which a job computed something."""
    found = (re.match(rf"{re.escape(loop)}\[(\d+)\]", call) for call in computed(url, job))
    return {int(one[1]) for one in found if one}


def pixels_of(url: str, job: str, output: str = "image") -> NDArray[np.uint8]:
    """The picture that a job made."""
    file = ask(f"{url}/api/v1/jobs/{job}").json["result"][output]["files"][0]["id"]
    return np.asarray(Image.open(io.BytesIO(ask(f"{url}/api/v1/files/{file}").body)))
