"""The queue: jobs with leases in SQLite. Nothing is lost when a process ends, however it ends.

Every change is one transaction that is on the disk when the call returns. A worker holds a job by a lease that it
renews; when the lease runs out (the worker died) the job is queued again, a bounded number of times. A worker whose
lease was lost can change nothing any more, so a job ends exactly once.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.jobs.clock import Clock
from server.jobs.job import IdempotencyConflict, Job, LostLease, QueueFull, Request, State, UnknownJob, WrongState

LEASE_SECONDS = 15.0
"""How long a job stays with a worker that is not heard of."""

MOST_ATTEMPTS = 5
"""How often a job is taken up before it counts as one that kills its workers."""

MOST_WAITING = 10_000
"""How many jobs may wait."""

BUSY_SECONDS = 30.0
"""How long a call waits for another process that writes."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    request TEXT NOT NULL,
    idempotency TEXT UNIQUE,
    attempts INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    boot TEXT NOT NULL DEFAULT '',
    lease REAL NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    result TEXT,
    error TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON jobs (priority DESC, seq) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS running ON jobs (lease) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, seq);
"""

_FIELDS = "id, state, request, attempts, token, worker, cancelling, created, started, finished, result, error"


class Queue:
    """Responsibilities: keep jobs, hand them to workers, take back those of workers that are gone.

    Args:
        path: The SQLite file; several processes may open it.
        clock: Time of leases.
        most_waiting: Jobs that may wait.
        most_attempts: Times that a job is taken up.

    Raises:
        sqlite3.Error: the file cannot be used (damaged, no space, no rights); what was asked for did not happen.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        most_waiting: int = MOST_WAITING,
        most_attempts: int = MOST_ATTEMPTS,
    ) -> None:
        self._clock = clock or Clock()
        self._most_waiting, self._most_attempts = most_waiting, most_attempts
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    # -- asking --------------------------------------------------------------------------------------------------

    def enqueue(self, request: Request, idempotency: str | None = None) -> Job:
        """Add a job; one with an idempotency key that is known is the earlier one.

        Raises:
            QueueFull: too many wait.
            IdempotencyConflict: the key stands for another request.
        """
        text = _encode(asdict(request))
        with self._change() as database:
            if idempotency is not None and (known := self._known(database, idempotency, text)) is not None:
                return known
            waiting = database.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
            if waiting >= self._most_waiting:
                raise QueueFull(f"{waiting} jobs wait already")
            id_ = secrets.token_hex(16)
            row = (id_, State.QUEUED, request.priority, text, idempotency, time.time())
            database.execute(
                "INSERT INTO jobs (id, state, priority, request, idempotency, created) VALUES (?, ?, ?, ?, ?, ?)", row
            )
            return self._get(database, id_)

    def _known(self, database: sqlite3.Connection, idempotency: str, text: str) -> Job | None:
        query = f"SELECT request, {_FIELDS} FROM jobs WHERE idempotency = ?"
        row = database.execute(query, (idempotency,)).fetchone()
        if row is None:
            return None
        if row[0] != text:
            raise IdempotencyConflict(f"the idempotency key {idempotency!r} was used for another request")
        return _job(row[1:])

    def get(self, id_: str) -> Job:
        """A job as it is now.

        Raises:
            UnknownJob: there is none of this id.
        """
        with self._lock:
            return self._get(self._database, id_)

    def jobs(self, *, states: Sequence[State] = (), before: str | None = None, limit: int = 50) -> list[Job]:
        """Jobs, the newest first; `before` is the id of the last one of the page before.

        Raises:
            UnknownJob: there is no job `before`.
        """
        wanted = list(states or State)
        marks = ", ".join("?" * len(wanted))
        with self._lock:
            last = self._seq(before) if before is not None else None
            query = f"SELECT {_FIELDS} FROM jobs WHERE state IN ({marks}) AND seq < ? ORDER BY seq DESC LIMIT ?"
            rows = self._database.execute(query, (*wanted, last or 2**62, limit)).fetchall()
        return [_job(row) for row in rows]

    def position(self, id_: str) -> int | None:
        """How many jobs are taken up before this one; None where it does not wait."""
        query = """
            SELECT (SELECT count(*) FROM jobs AS other WHERE other.state = 'queued' AND
                    (other.priority > jobs.priority OR (other.priority = jobs.priority AND other.seq < jobs.seq)))
            FROM jobs WHERE id = ? AND state = 'queued'
        """
        with self._lock:
            row = self._database.execute(query, (id_,)).fetchone()
        return None if row is None else int(row[0])

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        with self._lock:
            rows = self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return {state: dict(rows).get(state, 0) for state in State}

    def cancel(self, id_: str) -> Job:
        """End a job: at once if it waits; one that runs is told, and ends within a step. An ended one stays as it is.

        Raises:
            UnknownJob: there is none of this id.
        """
        with self._change() as database:
            database.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state = 'queued'",
                (time.time(), id_),
            )
            database.execute("UPDATE jobs SET cancelling = 1 WHERE id = ? AND state = 'running'", (id_,))
            return self._get(database, id_)

    def retry(self, id_: str) -> Job:
        """Queue a job that failed or was cancelled once more; its finished steps are still in the cache.

        Raises:
            UnknownJob: there is none of this id.
            WrongState: it waits, runs or succeeded.
        """
        with self._change() as database:
            job = self._get(database, id_)
            if job.state not in (State.FAILED, State.CANCELLED):
                raise WrongState(f"the job is {job.state}; only one that failed or was cancelled can be tried again")
            database.execute(
                "UPDATE jobs SET state = 'queued', attempts = 0, cancelling = 0, worker = '', started = NULL, "
                "finished = NULL, result = NULL, error = NULL WHERE id = ?",
                (id_,),
            )
            return self._get(database, id_)

    # -- working -------------------------------------------------------------------------------------------------

    def claim(self, worker: str, lease: float = LEASE_SECONDS) -> Job | None:
        """Take up the next job for `lease` seconds; None if none waits."""
        with self._change() as database:
            row = database.execute(
                f"""
                UPDATE jobs SET state = 'running', worker = ?, boot = ?, lease = ?, attempts = attempts + 1,
                    token = token + 1, started = coalesce(started, ?)
                WHERE seq = (SELECT seq FROM jobs WHERE state = 'queued' ORDER BY priority DESC, seq LIMIT 1)
                RETURNING {_FIELDS}
                """,
                (worker, self._clock.boot, self._clock.now() + lease, time.time()),
            ).fetchone()
        return None if row is None else _job(row)

    def renew(self, job: Job, lease: float = LEASE_SECONDS) -> bool:
        """Hold a job for `lease` more seconds; returns whether somebody asked for its end.

        Raises:
            LostLease: it was given to another worker, or ended.
        """
        with self._change() as database:
            self._own(database, job, "lease = ?", (self._clock.now() + lease,))
            return self._get(database, job.id).cancelling

    def succeed(self, job: Job, result: Mapping[str, Any]) -> None:
        """End a job with what it made.

        Raises:
            LostLease: it is no longer this worker's.
        """
        self._end(job, State.SUCCEEDED, result=_encode(result))

    def fail(self, job: Job, error: Mapping[str, Any]) -> None:
        """End a job with what went wrong.

        Raises:
            LostLease: it is no longer this worker's.
        """
        self._end(job, State.FAILED, error=_encode(error))

    def give_up(self, job: Job) -> None:
        """End a job as cancelled, as somebody asked.

        Raises:
            LostLease: it is no longer this worker's.
        """
        self._end(job, State.CANCELLED)

    def release(self, job: Job) -> None:
        """Give a job back unfinished (the worker stops): it waits again, and this attempt does not count.

        Raises:
            LostLease: it is no longer this worker's.
        """
        with self._change() as database:
            self._own(database, job, "state = 'queued', worker = '', attempts = attempts - 1")

    def expire(self, workers: Sequence[str] = ()) -> list[Job]:
        """Take back the jobs of workers that are gone; returns them as they are then: queued, cancelled or failed.

        Args:
            workers: Workers known to be dead, whose leases need not be waited for.
        """
        marks = ", ".join("?" * len(workers))
        with self._change() as database:
            rows = database.execute(
                f"SELECT {_FIELDS} FROM jobs WHERE state = 'running' AND "
                f"(boot != ? OR lease < ? OR worker IN ({marks}))",
                (self._clock.boot, self._clock.now(), *workers),
            ).fetchall()
            return [self._take_back(database, _job(row)) for row in rows]

    def _take_back(self, database: sqlite3.Connection, job: Job) -> Job:
        if job.cancelling:
            self._own(database, job, "state = 'cancelled', finished = ?", (time.time(),))
        elif job.attempts >= self._most_attempts:
            error = {"kind": "worker_died", "message": f"{job.attempts} workers ended while they ran this job"}
            self._own(database, job, "state = 'failed', finished = ?, error = ?", (time.time(), _encode(error)))
        else:
            self._own(database, job, "state = 'queued', worker = ''")
        return self._get(database, job.id)

    # -- housekeeping --------------------------------------------------------------------------------------------

    def forget(self, keep: int) -> list[str]:
        """Remove all but the `keep` newest jobs that ended; returns the ids of those removed."""
        with self._change() as database:
            rows = database.execute(
                "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE state IN ('succeeded', 'failed', "
                "'cancelled') ORDER BY seq DESC LIMIT -1 OFFSET ?) RETURNING id",
                (keep,),
            ).fetchall()
        return [row[0] for row in rows]

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # -- inside --------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _get(self, database: sqlite3.Connection, id_: str) -> Job:
        row = database.execute(f"SELECT {_FIELDS} FROM jobs WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise UnknownJob(f"there is no job {id_!r}")
        return _job(row)

    def _seq(self, id_: str) -> int:
        row = self._database.execute("SELECT seq FROM jobs WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise UnknownJob(f"there is no job {id_!r}")
        return int(row[0])

    def _end(self, job: Job, state: State, *, result: str | None = None, error: str | None = None) -> None:
        with self._change() as database:
            values = (state, time.time(), result, error)
            self._own(database, job, "state = ?, finished = ?, result = ?, error = ?", values)

    def _own(self, database: sqlite3.Connection, job: Job, changes: str, values: Sequence[Any] = ()) -> None:
        """Change a running job, if it was not given to anybody since (each claim has its own token)."""
        done = database.execute(
            f"UPDATE jobs SET {changes} WHERE id = ? AND state = 'running' AND token = ?",
            (*values, job.id, job.token),
        )
        if done.rowcount != 1:
            raise LostLease(f"job {job.id} is no longer {job.worker}'s")


def _job(row: Sequence[Any]) -> Job:
    id_, state, request, attempts, token, worker, cancelling, created, started, finished, result, error = row
    asked = json.loads(request)
    return Job(
        id_, Request(**{**asked, "outputs": tuple(asked["outputs"])}), State(state), attempts, token, worker,
        bool(cancelling), created, started, finished, _decode(result), _decode(error),
    )  # fmt: skip


def _decode(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _encode(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
