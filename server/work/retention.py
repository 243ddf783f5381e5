"""What leaves a server that runs for years: old jobs that ended, their events, and files that nobody names any more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

from server.files.store import FileStore
from server.jobs.events import EventLog
from server.jobs.queue import Queue
from server.settings import Keep
from server.workflows.store import WorkflowStore

_ID = re.compile(r"[0-9a-f]{32}")
DAY = 86_400.0
BATCH = 500
"""Jobs that leave in one transaction: others wait for it."""


class Retention:
    """Responsibilities: remove what the policy lets go, and nothing that a job or a workflow that stays names.

    Args:
        keep: The policy.
    """

    def __init__(self, keep: Keep, queue: Queue, log: EventLog, files: FileStore, workflows: WorkflowStore) -> None:
        self._keep, self._queue, self._log, self._files, self._workflows = keep, queue, log, files, workflows

    def jobs(self) -> list[str]:
        """Remove jobs that are too old or too many, at most a batch; returns their ids.

        Their events leave afterwards: a server that ends in between leaves events that nobody reads, never a job
        without its story.
        """
        gone = self._queue.forget(self._keep.jobs, time.time() - self._keep.days * DAY, BATCH)
        self._log.forget(gone)
        return gone

    def files(self) -> list[str]:
        """Remove files that are old and that nothing names; returns their ids.

        A job that names an old file after it was looked for here has made it new by that (`FileStore.touch`).
        """
        before = time.time() - self._keep.days * DAY
        unnamed = set(self._files.older(before))
        for text in self._texts() if unnamed else ():
            unnamed.difference_update(_ID.findall(text))
        return [id_ for id_ in sorted(unnamed) if self._files.remove_older(id_, before)]

    def _texts(self) -> Iterator[str]:
        """All texts in which a file may be named."""
        yield from self._queue.mentioned()
        yield from _read(self._workflows)


def _read(workflows: WorkflowStore) -> Iterable[str]:
    return [workflows.read(name).text for name, shipped in workflows.names().items() if not shipped]
