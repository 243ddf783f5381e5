"""A worker process: takes up jobs, runs them with the engine, and says how they stand.

It lives as long as its standard input is open; when the server ends, it finishes its step, gives the job back, and
leaves. Whatever kills it costs the step that it was in.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphcore import Engine, Workflow
from graphcore.errors import Cancelled
from graphcore.plugins.loader import Plugins
from server.files.store import FileStore
from server.jobs.events import EventLog
from server.jobs.job import Job, LostLease, State
from server.jobs.queue import LEASE_SECONDS, Queue
from server.work import inputs, looking, messages, results
from server.work.cancellation import Cancellation
from server.work.folders import Folders
from server.work.lease import Lease
from server.work.recorder import Recorder

IDLE_SECONDS = 1.0
"""How often an idle worker looks by itself; it is woken when a job comes."""

MEMORY_LIMIT = 1 << 30


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
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"}
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
            job = self._queue.claim(self._name, self._lease_seconds)
            if job is None:
                self._wake.wait(IDLE_SECONDS)
            else:
                self._run(job)
        self._engine.close()

    def _run(self, job: Job) -> None:
        self._tell_state(job, State.RUNNING, attempt=job.attempts)
        try:
            self._finish(job)
        except LostLease:
            return  # another worker has it; it tells how the job goes on

    def _finish(self, job: Job) -> None:
        self._wish = wish = Cancellation()
        if self._stopping.is_set():
            wish.ask()
        with Lease(self._queue, job, wish.ask, self._lease_seconds) as lease:
            self._lease = lease
            try:
                result = self._compute(job, wish)
            except Cancelled:
                self._cancelled(job, lease)
            except Exception as error:
                traceback.print_exc()
                described = results.describe(error)
                self._queue.fail(job, described)
                self._tell_state(job, State.FAILED, error=described)
            else:
                self._queue.succeed(job, result)
                self._tell_state(job, State.SUCCEEDED, result=result)
            finally:
                self._lease = self._wish = None

    def _cancelled(self, job: Job, lease: Lease) -> None:
        if lease.cancelled:
            self._queue.give_up(job)
            self._tell_state(job, State.CANCELLED)
        elif not lease.lost:
            self._queue.release(job)
            self._tell_state(job, State.QUEUED, message="the worker stops")

    def _compute(self, job: Job, wish: Cancellation) -> dict[str, Any]:
        self._take_up_plugins()
        asked = job.request
        workflow = Workflow.parse(asked.files[asked.workflow], asked.workflow, files=asked.files)
        values = inputs.resolve(workflow, asked.inputs, self._files)
        with Recorder(self._log, job.id, lambda: self._say(say="events", job=job.id)) as record:
            run = self._engine.start(
                workflow, values, outputs=asked.outputs or None, on_event=record, previews=asked.previews
            )
            wish.attach(run)
            try:
                outputs = run.finish()
            finally:
                self._engine.flush()  # what is finished is kept, whatever comes next
        return results.keep(outputs, run.keys, run.provenance, self._engine.registry.types, self._files)

    def _take_up_plugins(self) -> None:
        if self._plugins.reload():
            self._engine.use(self._plugins.registry)

    def _tell_state(self, job: Job, state: State, **more: Any) -> None:
        self._log.append(job.id, [("state", {"state": state, "worker": self._name, **more}, b"")])
        self._say(say="state", job=job.id, state=state)


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
    options = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor says when to stop
    worker = Worker(options.name, Folders(options.data), options.device, options.dtype, options.lease)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    threading.Thread(target=worker.listen, name="stepgraph-listen", daemon=True).start()
    worker.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
