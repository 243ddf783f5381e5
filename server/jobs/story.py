"""The story of a job's states: every change told once and in order, whoever tells it and whenever he dies.

The queue and the log are two files, so that a process may end between its change of the one and its word in the other,
and another process may speak first. What is written next therefore follows from what was told last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.jobs.job import Job, State

Told = Mapping[str, Any]
"""The data of a `state` event: `state`, and what belongs to it (`worker`, `attempt`: how often the
job was taken up by then, `token`: how often in all, `result`, `error`, `message`)."""

NEW: Told = {"state": State.QUEUED, "attempt": 0, "token": 0}


def of(job: Job) -> dict[str, Any]:
    """What is to be told of a job as the queue has it."""
    told: dict[str, Any] = {"state": job.state, "request": job.request.request_id, "attempt": job.attempts}
    told["token"] = job.token
    if job.worker:
        told["worker"] = job.worker
    if job.result is not None:
        told["result"] = job.result
    if job.error is not None:
        told["error"] = job.error
    return told


def heard(told: Told | None, word: Told) -> list[Told]:
    """What is to be written when somebody says that a job's state changed; nothing where it is old news.

    A worker may speak late, of a job that was taken from it: an end stands, and a run that began no later than the one
    that was told last is over.
    """
    if told is not None:
        before, now = State(told["state"]), State(word["state"])
        if _of_a_former_worker(told, word):
            return []
        if before.ended and now is not State.QUEUED:
            return []
        if now is State.RUNNING and word.get("attempt", 1) <= told.get("attempt", 0):
            return []
    return settled(told, word)


def _of_a_former_worker(told: Told, word: Told) -> bool:
    """Whether the job was taken up again, or waits again, since the worker who speaks had it."""
    mine, last = word.get("token"), told.get("token", -1)
    return mine is not None and (last > mine or (last == mine and State(told["state"]) is State.QUEUED))


def settled(told: Told | None, truth: Told) -> list[Told]:
    """What is to be written so that the story ends with the truth: the steps in between that nobody told, and it.

    How often the job was taken up (`attempt`) tells of workers that ended before they could say that they began.
    """
    now = State(truth["state"])
    if told is None:
        return [truth] if now is State.QUEUED and not truth.get("attempt") else [NEW, *settled(NEW, truth)]
    before, begun = State(told["state"]), told.get("attempt", 0)
    attempts = max(truth.get("attempt", begun), begun)
    if before is now and attempts == begun:
        return []
    if before.ended:
        return [] if before is now else _again(told, truth)
    story: list[Told] = []
    for attempt in range(begun, attempts + 1):
        if attempt > begun:
            story += [_taken_back(attempt - 1)] if before is State.RUNNING or story else []
            story.append({"state": State.RUNNING, "attempt": attempt})
    last = story[-1]["state"] if story else before
    if last is State.QUEUED and now.ended and now is not State.CANCELLED:
        story.append({"state": State.RUNNING, "attempt": attempts})
    if story and now is State.RUNNING:
        story.pop()
    return [*story, truth]


def _again(told: Told, truth: Told) -> list[Told]:
    """The story of a job that had ended and was tried again."""
    if State(truth["state"]) is State.QUEUED and not truth.get("attempt"):
        return [truth]
    queued = {**NEW, "token": told.get("token", 0)}
    return [queued, *settled(queued, truth)]


def _taken_back(attempt: int) -> Told:
    return {"state": State.QUEUED, "attempt": attempt, "message": "its worker ended"}
