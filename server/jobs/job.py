"""A job as a value, and what may go wrong when one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from graphcore import StepgraphError


class State(StrEnum):
    """Where a job stands. The last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for.

    Args:
        workflow: Name of the workflow file, such as `txt2img.json`.
        files: Text of that file and of those that it uses, by name.
        inputs: Values of its inputs, as JSON.
        outputs: Names of the outputs to make; empty for all.
        priority: Higher ones run first; equal ones in the order in which they came.
        previews: Make small pictures of values on the way.
        request_id: Names the HTTP request that asked, for logs; two requests that differ in it alone ask for the same.
    """

    workflow: str
    files: Mapping[str, str]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    priority: int = 0
    previews: bool = False
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One request and where it stands.

    Args:
        id: 128 random bits, hexadecimal: nobody guesses another's.
        attempts: How often a worker took it up, since it was queued or tried again.
        token: Counts all times that it was taken up: who holds an older one has lost it.
        worker: Who runs it now.
        cancelling: Somebody asked for its end; the worker will hear of it.
        created, started, finished: Seconds since 1970 by the wall clock, for people; nothing is decided by them.
        result: Output names to what was made: key, files, or a plain value.
        error: What a failed job ended with: `kind`, `message`, `node`, ...
        progress: Share of the known work that is done, while it runs; None where that is not known.
        seconds_left: Until its end, by what its nodes took before; None where one of them was never measured.
    """

    id: str
    request: Request
    state: State = State.QUEUED
    attempts: int = 0
    token: int = 0
    worker: str = ""
    cancelling: bool = False
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    progress: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a job that waits may hope for: how many come before it, and the seconds until its end, if known."""

    position: int
    seconds_left: float | None = None


class UnknownJob(StepgraphError):
    """There is no job of that id."""


class QueueFull(StepgraphError):
    """As many jobs wait as are allowed to."""


class IdempotencyConflict(StepgraphError):
    """The key was used before, for another request."""


class LostLease(StepgraphError):
    """A worker speaks of a job that is no longer its own."""


class WrongState(StepgraphError):
    """What is asked for cannot be done with a job in this state."""
