"""How far a job is, and how long it and those behind it will take: nothing at first, then from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.server import ticks
from tests.server.http.house import serve

LONG = ticks.workflow(40, 1.0)


def test_progress_and_seconds_left(tmp_path: Path) -> None:
    folders = ticks.make(tmp_path / "data")
    ticks.hurry(folders.data)
    with serve(folders.data) as server:

        def ask(seed: int) -> Any:
            return server.ask("/api/v1/jobs", {"workflow": LONG, "inputs": {"seed": seed}}).json

        first = ask(1)
        assert first["position"] in (0, None)  # it may have been taken up already
        assert (first["progress"], first["seconds_left"]) == (None, None)
        done = server.ended(first["id"])
        assert (done["state"], done["progress"], done["seconds_left"]) == ("succeeded", None, None)
        (folders.data / "hurry").unlink()
        second, third = ask(2)["id"], ask(3)["id"]
        seen: list[Any] = []

        def told() -> bool:
            seen[:] = [server.ask(f"/api/v1/jobs/{id_}").json for id_ in (second, third)]
            return seen[0]["progress"] is not None or seen[0]["state"] == "succeeded"

        server.until(told)
        running, waiting = seen
        assert 0 < running["progress"] < 1
        assert running["seconds_left"] > 0
        assert (waiting["position"], waiting["progress"]) == (0, None)
        assert waiting["seconds_left"] > running["seconds_left"]
        listed = {job["id"]: job for job in server.ask("/api/v1/jobs").json["jobs"]}
        assert listed[third]["seconds_left"] is not None
        for id_ in (second, third):
            server.ask(f"/api/v1/jobs/{id_}", method="DELETE")
