"""A worker process: takes up jobs, runs them with the engine, and says how they stand.

It lives as long as its standard input is open; when the server ends, it finishes its step, gives the job back, and
leaves. Whatever kills it costs the step that it was in.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from graphcore import Engine, Event
from graphcore.check import left_out
from graphcore.errors import Cancelled
from graphcore.plugins.loader import Plugins
from server import logs
from server.files.store import FileStore
from server.jobs.events import EventLog
from server.jobs.job import Job, LostLease, State
from server.jobs.queue import LEASE_SECONDS, Queue, kind
from server.work import inputs, looking, messages, results
from server.work.cancellation import Cancellation
from server.work.folders import Folders
from server.work.lease import LOOK_SECONDS, Lease
from server.work.progress import Progress
from server.work.pulse import Pulse
from server.work.recorder import FLUSH_SECONDS, Recorder
from server.work.results import Results
from server.work.sources import Sources
from server.workflows.parsed import Parsed

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How often an idle worker looks by itself; it is woken when a job comes."""

MEMORY_LIMIT = 1 << 30

REPORT_SECONDS = 0.3
"""How often a job says how far it is."""

MOST_UNFLUSHED = 16
"""Runs of which all was cached, and whose descriptions may still be on their way into the journal."""


class Worker:
    """Responsibilities: run one job after the other, never lose one.

    Args:
        name: Unique among all workers that ever were.
        folders: Where queue, files and cache lie.
        device, dtype: As `Engine` takes them.
    """

    def __init__(
        self, name: str, folders: Folders, device: str = "auto", dtype: str = "auto", lease: float = LEASE_SECONDS
    ) -> None:
        self._name, self._folders, self._lease_seconds = name, folders, lease
        self._queue, self._log = Queue(folders.queue), EventLog(folders.events)
        self._files = FileStore(folders.files)
        self._plugins = Plugins([folders.plugins])
        self._engine = Engine(
            registry=self._plugins.registry, cache=folders.cache, device=device, dtype=dtype, roots=folders.roots,
            memory_limit=MEMORY_LIMIT,
        )  # fmt: skip
        self._results, self._parsed, self._sources = Results(self._files), Parsed(), Sources(folders.plugins)
        self._keeper, self._scribe = Pulse("stepgraph-lease", LOOK_SECONDS), Pulse("stepgraph-events", FLUSH_SECONDS)
        self._unflushed = 0
        self._progress: Progress | None = None
        self._report_due = 0.0
        self._paces = self._queue.paces()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._lease: Lease | None = None
        self._wish: Cancellation | None = None
        self._voice, self._say_lock = _voice(), threading.Lock()

    # -- talking -------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Follow the commands on standard input until it closes (in a thread of its own)."""
        for line in sys.stdin.buffer:
            command = messages.decode(line)
            if command.get("do") == "stop":
                break
            if command.get("do") == "cancel" and (lease := self._lease) is not None:
                lease.look()
            if command.get("do") == "look":
                self._look(command)
            self._say(say="alive")
            self._wake.set()
        self.stop()

    def _look(self, command: dict[str, Any]) -> None:
        try:
            found = looking.look(self._engine, str(command["key"]), picture=bool(command.get("picture")))
        except Exception as error:  # values and hooks are those of plugins
            log.exception("a value cannot be looked at")
            found = {"error": self._folders.hide(f"{type(error).__name__}: {error}")}
        self._say(say="seen", ask=command.get("ask"), **found)

    def stop(self) -> None:
        """End after the step that runs now; its job goes back to the queue."""
        self._stopping.set()
        self._wake.set()
        if (wish := self._wish) is not None:
            wish.ask()

    def _say(self, **message: Any) -> None:
        """A supervisor that has gone hears nothing; the end of standard input will say so."""
        with self._say_lock, contextlib.suppress(OSError, ValueError):
            os.write(self._voice, messages.encode(**message))

    # -- working -------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run jobs until `stop`."""
        self._say(say="ready", device=self._engine.device, dtype=self._engine.dtype)
        while not self._stopping.is_set():
            self._wake.clear()
            job = self._claim()
            if job is None:
                self._wake.wait(IDLE_SECONDS)
            else:
                self._run(job)
        self._engine.close()

    def _claim(self) -> Job | None:
        """The next job; None too while the queue is locked, as by a worker that was stopped within a change."""
        try:
            return self._queue.claim(self._name, self._lease_seconds)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            log.warning("the queue is locked by another process; the next job has to wait")
            return None

    def _run(self, job: Job) -> None:
        logs.speak_for(job.request.request_id)
        log.info("job %s runs on %s, attempt %d", job.id, self._name, job.attempts)
        self._progress, self._report_due = None, time.monotonic() + REPORT_SECONDS
        with Recorder(self._log, job.id, partial(self._told, job), self._scribe, self._folders.hide) as record:
            self._tell_state(record, job, State.RUNNING, attempt=job.attempts)
            with contextlib.suppress(LostLease):  # another worker has it; it tells how the job goes on
                self._finish(job, record)
        self._say(say="state", job=job.id)

    def _finish(self, job: Job, record: Recorder) -> None:
        self._wish = wish = Cancellation()
        if self._stopping.is_set():
            wish.ask()
        with Lease(self._queue, job, wish.ask, self._keeper, self._lease_seconds) as lease:
            self._lease = lease
            try:
                result = self._compute(job, wish, record)
            except Cancelled:
                self._cancelled(job, lease, record)
            except Exception as error:
                log.exception("job %s failed", job.id)
                described = {**results.describe(error, self._folders.hide), "request": job.request.request_id}
                self._queue.fail(job, described)
                self._tell_state(record, job, State.FAILED, error=described)
            else:
                self._queue.succeed(job, result)
                self._tell_state(record, job, State.SUCCEEDED, result=result)
                log.info("job %s succeeded", job.id)
            finally:
                self._lease = self._wish = None

    def _cancelled(self, job: Job, lease: Lease, record: Recorder) -> None:
        if lease.cancelled:
            self._queue.give_up(job)
            self._tell_state(record, job, State.CANCELLED)
        elif not lease.lost:
            self._queue.release(job)
            self._tell_state(record, job, State.QUEUED, message="the worker stops")

    def _compute(self, job: Job, wish: Cancellation, record: Recorder) -> dict[str, Any]:
        self._take_up_plugins()
        asked = job.request
        workflow = self._parsed.get(asked.workflow, asked.files)
        values = inputs.resolve(workflow, asked.inputs, self._files)
        plain = left_out.plain(workflow, self._engine.registry)  # nobody waits for what is muted
        self._progress = progress = Progress(plain, self._paces)

        def hear(event: Event) -> None:
            record(event)
            progress(event)

        begin = time.monotonic()
        run = self._engine.start(
            workflow, values, outputs=asked.outputs or None, on_event=hear, previews=asked.previews
        )
        wish.attach(run)
        try:
            outputs = run.finish()
            self._learn(job, progress, time.monotonic() - begin)
        finally:
            self._flush(run.tally.ran)
        types, cached = self._engine.registry.types, not run.tally.ran
        return self._results.keep(outputs, run.keys, run.provenance, types, cached=cached)

    def _learn(self, job: Job, progress: Progress, seconds: float) -> None:
        """Remember how long nodes and the whole took; a run of which all was cached tells nothing of that."""
        measured = progress.measured()
        if measured:
            with contextlib.suppress(sqlite3.Error):
                self._queue.learn({**measured, kind(job.request): seconds})
                self._paces = self._queue.paces()

    def _told(self, job: Job) -> None:
        """Events were written: say so, and from time to time how far the job is."""
        self._say(say="events", job=job.id)
        if (progress := self._progress) is not None and time.monotonic() > self._report_due:
            self._report_due = time.monotonic() + REPORT_SECONDS
            with contextlib.suppress(LostLease, sqlite3.Error):
                self._queue.report(job, *progress.report())

    def _flush(self, ran: int) -> None:
        """What is finished is kept, whatever comes next; where nothing ran, only the journal waits, and may."""
        self._unflushed += 1
        if ran or self._unflushed >= MOST_UNFLUSHED:
            self._engine.flush()
            self._unflushed = 0

    def _take_up_plugins(self) -> None:
        if self._sources.changed(self._plugins.states) and self._plugins.reload():
            self._engine.use(self._plugins.registry)

    def _tell_state(self, record: Recorder, job: Job, state: State, **more: Any) -> None:
        told = {"state": state, "worker": self._name, "request": job.request.request_id, "token": job.token, **more}
        record.tell("state", told)


def _voice() -> int:
    """Standard output for messages alone: whatever else is printed in this process goes to standard error."""
    voice = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return voice


def main(argv: Sequence[str] | None = None) -> int:
    """The process: `python -m server.work.worker --data DIR --name NAME`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS)
    parser.add_argument("--log-json", action="store_true")
    options = parser.parse_args(argv)
    logs.configure(as_json=options.log_json)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor says when to stop
    worker = Worker(options.name, Folders(options.data), options.device, options.dtype, options.lease)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    threading.Thread(target=worker.listen, name="stepgraph-listen", daemon=True).start()
    worker.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
