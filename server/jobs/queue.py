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

from blake3 import blake3

from graphcore import StepgraphError
from server.jobs.clock import Clock
from server.jobs.job import (
    IdempotencyConflict,
    Job,
    LostLease,
    Prospect,
    QueueFull,
    Request,
    State,
    UnknownJob,
    WrongState,
)

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
    error TEXT,
    kind TEXT NOT NULL DEFAULT '',
    progress REAL,
    seconds_left REAL
);
CREATE INDEX IF NOT EXISTS waiting ON jobs (priority DESC, seq) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS running ON jobs (lease) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, seq);
CREATE TABLE IF NOT EXISTS pace (kind TEXT PRIMARY KEY, seconds REAL NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
"""

MOST_SUMMED = 200
"""Waiting jobs whose seconds are added up to tell one that comes after them how long it will wait."""

MOST_PACES = 1000
"""Kinds of jobs (and of nodes) of which it is known how long they take."""

NEWEST = 0.3
"""Share of the newest measurement in what counts as the pace."""

_FIELDS = (
    "id, state, request, attempts, token, worker, cancelling, created, started, finished, result, error, progress, "
    "seconds_left"
)


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
        self._reading, self._reader = self._lock, self._database
        if str(path) != ":memory:":  # who reads does not wait for one who writes to the disk
            self._reading = threading.Lock()
            self._reader = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    # -- asking --------------------------------------------------------------------------------------------------

    def enqueue(self, request: Request, idempotency: str | None = None) -> Job:
        """Add a job; one with an idempotency key that is known is the earlier one.

        Raises:
            QueueFull: too many wait.
            IdempotencyConflict: the key stands for another request.
        """
        (job,) = self.enqueue_all([(request, idempotency)])
        if isinstance(job, StepgraphError):
            raise job
        return job

    def enqueue_all(self, asked: Sequence[tuple[Request, str | None]]) -> list[Job | StepgraphError]:
        """Add jobs in one transaction, as those who ask at one moment need the disk to turn once only.

        Returns: of each its job, or why it is not accepted, as `enqueue` would have raised it.
        """
        with self._change() as database:
            waiting = database.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
            found: list[Job | StepgraphError] = []
            for request, idempotency in asked:
                try:
                    job, new = self._enqueue(database, request, idempotency, waiting)
                except StepgraphError as error:
                    found.append(error)
                else:
                    found.append(job)
                    waiting += new
            return found

    def _enqueue(
        self, database: sqlite3.Connection, request: Request, idempotency: str | None, waiting: int
    ) -> tuple[Job, bool]:
        text = _encode(asdict(request))
        if idempotency is not None and (known := self._known(database, idempotency, text)) is not None:
            return known, False
        if waiting >= self._most_waiting:
            raise QueueFull(f"{waiting} jobs wait already")
        job = Job(secrets.token_hex(16), request, created=time.time())
        row = (job.id, State.QUEUED, request.priority, text, idempotency, job.created, kind(request))
        database.execute(
            "INSERT INTO jobs (id, state, priority, request, idempotency, created, kind) VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        return job, True

    def _known(self, database: sqlite3.Connection, idempotency: str, text: str) -> Job | None:
        query = f"SELECT request, {_FIELDS} FROM jobs WHERE idempotency = ?"
        row = database.execute(query, (idempotency,)).fetchone()
        if row is None:
            return None
        if _asked(row[0]) != _asked(text):
            raise IdempotencyConflict(f"the idempotency key {idempotency!r} was used for another request")
        return _job(row[1:])

    def get(self, id_: str) -> Job:
        """A job as it is now.

        Raises:
            UnknownJob: there is none of this id.
        """
        with self._reading:
            return self._get(self._reader, id_)

    def jobs(self, *, states: Sequence[State] = (), before: str | None = None, limit: int = 50) -> list[Job]:
        """Jobs, the newest first; `before` is the id of the last one of the page before.

        Raises:
            UnknownJob: there is no job `before`.
        """
        wanted = list(states)
        marks = f"state IN ({', '.join('?' * len(wanted))}) AND" if wanted else ""
        with self._reading:
            last = self._seq(before) if before is not None else None
            query = f"SELECT {_FIELDS} FROM jobs WHERE {marks} seq < ? ORDER BY seq DESC LIMIT ?"
            rows = self._reader.execute(query, (*wanted, last or 2**62, limit)).fetchall()
        return [_job(row) for row in rows]

    def position(self, id_: str) -> int | None:
        """How many jobs are taken up before this one; None where it does not wait."""
        before = "SELECT count(*) FROM jobs AS o INDEXED BY waiting WHERE o.state = 'queued' AND o.priority"
        query = f"""
            SELECT ({before} > jobs.priority) + ({before} = jobs.priority AND o.seq < jobs.seq)
            FROM jobs WHERE id = ? AND state = 'queued'
        """
        with self._reading:
            row = self._reader.execute(query, (id_,)).fetchone()
        return None if row is None else int(row[0])

    def prospects(self, ids: Sequence[str], workers: int = 1) -> dict[str, Prospect]:
        """Of those of the jobs that wait: how many come before each, and the seconds until its end.

        The seconds follow from how long jobs of the same kind took before; None where one was never seen, or very many
        come before.
        """
        found = {id_: Prospect(position) for id_, position in self._positions(ids).items()}
        if any(one.position < MOST_SUMMED for one in found.values()):
            seconds = self._ends(max(workers, 1))
            return {id_: Prospect(one.position, seconds.get(id_)) for id_, one in found.items()}
        return found

    def _positions(self, ids: Sequence[str]) -> dict[str, int]:
        marks = ", ".join("?" * len(ids))
        query = f"""
            WITH waits AS (
                SELECT seq, row_number() OVER (ORDER BY priority DESC, seq) - 1 AS position
                FROM jobs INDEXED BY waiting WHERE state = 'queued'
            )
            SELECT id, position FROM waits JOIN jobs USING (seq)
            WHERE seq IN (SELECT seq FROM jobs WHERE id IN ({marks}))
        """
        if len(ids) == 1:  # counting along the index is quicker than numbering all
            position = self.position(ids[0])
            return {} if position is None else {ids[0]: position}
        with self._reading:
            return dict(self._reader.execute(query, tuple(ids)).fetchall())

    def _ends(self, workers: int) -> dict[str, float]:
        """Seconds until the first ones of those that wait will have ended, as far as that is known."""
        query = (
            "SELECT id, pace.seconds FROM jobs INDEXED BY waiting LEFT JOIN pace USING (kind) "
            "WHERE state = 'queued' ORDER BY priority DESC, seq LIMIT ?"
        )
        with self._reading:
            left = self._reader.execute("SELECT seconds_left FROM jobs WHERE state = 'running'").fetchall()
            rows = self._reader.execute(query, (MOST_SUMMED,)).fetchall()
        if any(row[0] is None for row in left):
            return {}
        found: dict[str, float] = {}
        total = sum(row[0] for row in left)
        for id_, seconds in rows:
            if seconds is None:
                break
            found[id_] = total / workers + seconds
            total += seconds
        return found

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        with self._reading:
            rows = self._reader.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
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
        """Take up the next job for `lease` seconds; None if none waits.

        This alone does not wait for the disk: a machine that fails at this moment finds the job waiting, as it was;
        the first renewal of the lease, or the job's end, brings it to the disk.
        """
        with self._change(durable=False) as database:
            row = database.execute(
                f"""
                UPDATE jobs SET state = 'running', worker = ?, boot = ?, lease = ?, attempts = attempts + 1,
                    token = token + 1, started = coalesce(started, ?), progress = NULL, seconds_left = NULL
                WHERE seq = (SELECT seq FROM jobs INDEXED BY waiting WHERE state = 'queued'
                             ORDER BY priority DESC, seq LIMIT 1)
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

    def report(self, job: Job, progress: float | None, seconds_left: float | None) -> None:
        """Say how far a job is; what nobody needs after a failure of the machine waits for no disk.

        Raises:
            LostLease: it is no longer this worker's.
        """
        with self._change(durable=False) as database:
            self._own(database, job, "progress = ?, seconds_left = ?", (progress, seconds_left))

    def paces(self) -> dict[str, float]:
        """Seconds that jobs and nodes take, by kind, as `learn` was told."""
        with self._reading:
            return dict(self._reader.execute("SELECT kind, seconds FROM pace").fetchall())

    def learn(self, measured: Mapping[str, float]) -> None:
        """Remember how many seconds kinds of jobs or nodes took; the newest count most."""
        rows = [(name, seconds, time.time(), NEWEST, NEWEST) for name, seconds in measured.items()]
        with self._change(durable=False) as database:
            database.executemany(
                "INSERT INTO pace (kind, seconds, used) VALUES (?, ?, ?) ON CONFLICT (kind) DO UPDATE SET "
                "seconds = seconds * (1 - ?) + excluded.seconds * ?, used = excluded.used",
                rows,
            )
            database.execute(
                "DELETE FROM pace WHERE kind IN (SELECT kind FROM pace ORDER BY used DESC LIMIT -1 OFFSET ?)",
                (MOST_PACES,),
            )

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

    def forget(self, keep: int, before: float | None = None, most: int = 500) -> list[str]:
        """Remove jobs that ended, all but the `keep` newest; returns the ids of those removed.

        Args:
            before: Remove also those that ended before this time (seconds since 1970), however few there are.
            most: As many at a time, the oldest first, so that nobody waits long for it.
        """
        ended = "state IN ('succeeded', 'failed', 'cancelled')"
        with self._change() as database:
            edge = database.execute(
                f"SELECT seq FROM jobs WHERE {ended} ORDER BY seq DESC LIMIT 1 OFFSET ?", (keep,)
            ).fetchone()
            rows = database.execute(
                f"DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE {ended} AND (seq <= ? OR finished < ?) "
                "ORDER BY seq LIMIT ?) RETURNING id, seq",
                (edge[0] if edge else -1, before or 0.0, most),
            ).fetchall()
        return [row[0] for row in sorted(rows, key=lambda row: row[1])]

    def mentioned(self) -> Iterator[str]:
        """The texts of all that jobs ask for and gave: whatever file one of them needs is named in them."""
        after = 0
        while True:
            with self._reading:
                rows = self._reader.execute(
                    "SELECT seq, request, result FROM jobs WHERE seq > ? ORDER BY seq LIMIT 200", (after,)
                ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            for _, request, result in rows:
                yield request
                yield result or ""

    def close(self) -> None:
        with self._lock:
            self._database.close()
        if self._reader is not self._database:
            with self._reading:
                self._reader.close()

    # -- inside --------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing, on the disk at the end if `durable`."""
        with self._lock:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
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
        row = self._reader.execute("SELECT seq FROM jobs WHERE id = ?", (id_,)).fetchone()
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


def kind(request: Request) -> str:
    """Names requests that take about as long: those of the same workflow."""
    texts = "\0".join(f"{name}\0{text}" for name, text in sorted(request.files.items()))
    return f"job {request.workflow} {blake3(texts.encode()).hexdigest(8)}"


def _job(row: Sequence[Any]) -> Job:
    id_, state, request, attempts, token, worker, cancelling, created, started, finished, result, error, *rest = row
    asked = json.loads(request)
    return Job(
        id_, Request(**{**asked, "outputs": tuple(asked["outputs"])}), State(state), attempts, token, worker,
        bool(cancelling), created, started, finished, _decode(result), _decode(error), *rest,
    )  # fmt: skip


def _asked(text: str) -> Any:
    """What a stored request asks for, whichever HTTP request brought it."""
    return {**json.loads(text), "request_id": ""}


def _decode(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _encode(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
