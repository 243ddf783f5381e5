"""What is old leaves; what somebody still needs stays, whoever names it and however old it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from server.files.store import FileStore
from server.jobs.events import EventLog
from server.jobs.job import Request, State
from server.jobs.queue import Queue
from server.settings import Keep
from server.work.retention import DAY, Retention
from server.workflows.store import WorkflowStore


class House:
    """All that is tidied, with a policy."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        (folder / "workflows").mkdir()
        self.queue, self.log = Queue(folder / "queue.sqlite"), EventLog(folder / "events.sqlite")
        self.files, self.workflows = FileStore(folder / "files"), WorkflowStore(folder / "workflows")
        self.retention = Retention(keep, self.queue, self.log, self.files, self.workflows)

    def file(self, text: str, days: float) -> str:
        """A file that was added some days ago."""
        stored = self.files.add([text.encode()], ".json")
        then = time.time() - days * DAY
        os.utime(stored.path, (then, then))
        return stored.id

    def job(self, made: str = "", **inputs: str) -> str:
        """A job that ended and made a file."""
        job = self.queue.enqueue(Request("w.json", {"w.json": "{}"}, inputs))
        held = self.queue.claim("w")
        assert held is not None
        self.queue.succeed(held, {"out": {"files": [{"id": made}] if made else []}})
        self.log.append(job.id, [("state", {"state": State.SUCCEEDED}, b"")])
        return job.id

    def there(self, id_: str) -> bool:
        return any(path.stem == id_ for path in self.files.folder.iterdir())


def test_all_but_the_newest_jobs_leave_with_their_events(tmp_path: Path) -> None:
    house = House(tmp_path, Keep(jobs=2))
    waiting = house.queue.enqueue(Request("w.json", {"w.json": "{}"}, priority=-1)).id
    ids = [house.job() for _ in range(5)]
    assert house.retention.jobs() == ids[:3]
    assert [job.id for job in house.queue.jobs()] == [ids[4], ids[3], waiting]
    assert all(house.log.read(id_) == [] for id_ in ids[:3])
    assert all(house.log.read(id_) for id_ in ids[3:])
    assert house.retention.jobs() == []


def test_jobs_that_ended_long_ago_leave(tmp_path: Path) -> None:
    house = House(tmp_path, Keep(days=10))
    old, new = house.job(), house.job()
    house.queue._database.execute("UPDATE jobs SET finished = ? WHERE id = ?", (time.time() - 11 * DAY, old))
    assert house.retention.jobs() == [old]
    assert house.queue.get(new).state is State.SUCCEEDED


def test_files_stay_that_are_named_or_young(tmp_path: Path) -> None:
    house = House(tmp_path, Keep(jobs=1, days=10))
    lost, young = house.file("nobody knows me", 11), house.file("just uploaded", 9)
    input_, output, drawn = house.file("input", 11), house.file("output", 11), house.file("drawn in", 11)
    house.job(output, picture=f"file:{input_}")
    (house.workflows.folder / "own.json").write_text(f'{{"inputs": {{"picture": {{"default": "file:{drawn}"}}}}}}')
    assert house.retention.files() == [lost]
    assert not house.there(lost)
    assert all(map(house.there, (young, input_, output, drawn)))
    house.job()
    house.retention.jobs()
    assert house.retention.files() == sorted([input_, output])
    assert house.there(drawn)


def test_what_waits_keeps_its_files(tmp_path: Path) -> None:
    house = House(tmp_path, Keep(jobs=0, days=0))
    input_ = house.file("input", 1)
    house.queue.enqueue(Request("w.json", {"w.json": "{}"}, {"picture": f"file:{input_}"}))
    house.retention.jobs()
    assert house.retention.files() == []
    assert house.there(input_)


def test_a_file_that_is_asked_for_again_is_new(tmp_path: Path) -> None:
    house = House(tmp_path, Keep(days=10))
    old = house.file("input", 11)
    before = house.files.get(old).path.stat().st_mtime_ns
    candidates = list(house.files.older(time.time() - 10 * DAY))
    house.files.touch(old)
    assert candidates == [old]
    assert not house.files.remove_older(old, time.time() - 10 * DAY)
    assert house.there(old)
    assert house.files.get(old).path.stat().st_mtime_ns == before


def test_more_jobs_than_a_batch_leave_in_several(tmp_path: Path) -> None:
    house = House(tmp_path, Keep(jobs=0))
    ids = [house.job() for _ in range(4)]
    assert house.queue.forget(0, most=3) == ids[:3]
    assert house.queue.forget(0, most=3) == ids[3:]
