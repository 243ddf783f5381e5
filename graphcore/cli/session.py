"""Runs of one workflow: read it, run it, show it, write its outputs; the engine stays between runs."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphcore.cli import options as shared
from graphcore.cli import settings, shipped, target, text, writing
from graphcore.cli.interrupt import interrupts
from graphcore.cli.progress import progress, summary
from graphcore.events import Event
from graphcore.files import exports, provenance

if TYPE_CHECKING:
    from graphcore.execution.engine import Engine
    from graphcore.execution.run import Run
    from graphcore.plugins.loader import Plugins

Listener = Callable[[Event], None]


class Session:
    """Responsibilities: make the engine once, run the workflow as often as asked, tell where results lie.

    Args:
        options: The arguments of `stepgraph run`.
        listeners: Called with every event of every run.
        stack: Closes what the session opens.
    """

    def __init__(self, options: argparse.Namespace, listeners: Sequence[Listener], stack: ExitStack) -> None:
        self._options, self._listeners, self._stack = options, listeners, stack
        self.path = shipped.find(options.file)
        self.plugins: Plugins = shared.load_plugins(options)
        self._engine: Engine | None = None
        self._roots: tuple[Path, ...] = ()
        self._run: Run | None = None
        self._pressed = threading.Event()

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed during the last run."""
        return self._pressed.is_set()

    def run(self) -> list[Path]:
        """One run; returns the files written.

        Raises:
            StepgraphError: whatever keeps it from ending well.
        """
        begin = time.monotonic()
        writing.confirm_folder("--out", self._options.out)
        wanted = target.load(self.path, self._stack)
        given = settings.read(wanted.workflow, self._options.set, known=wanted.values)
        roots = shared.roots(self._options, target.files(wanted.workflow), given.paths)
        engine = self._engine_for(roots)
        values = {**wanted.values, **given.values}
        shown = progress()
        listeners: tuple[Listener, ...] = (shown, *self._listeners)

        def tell(event: Event) -> None:
            for listen in listeners:
                listen(event)

        self._run = run = engine.start(wanted.workflow, values, on_event=tell)
        with shown, interrupts(run.cancel) as self._pressed:
            run.finish()
        record = run.provenance
        written = exports.write(run.outputs, self._options.out, record, self.plugins.registry.types)
        for path in written:
            print(path, flush=True)
        print(text.paint(summary(shown.board, time.monotonic() - begin), "green", sys.stderr), file=sys.stderr)
        if wanted.record is not None:
            _compare(wanted.record, record)
        return written

    def cancel(self) -> None:
        """End the run that is under way, if there is one."""
        if self._run is not None:
            self._run.cancel()

    def files(self) -> set[Path]:
        """The files whose change asks for another run, as far as they can be read now."""
        from graphcore.files import reader

        workflow, _ = reader.read(self.path)
        return {self.path} if workflow is None else {self.path, *target.files(workflow)}

    def use_plugins(self) -> None:
        """Take up the plugins as they are now."""
        if self._engine is not None:
            self._engine.use(self.plugins.registry)

    def _engine_for(self, roots: tuple[Path, ...]) -> Engine:
        if self._engine is None or roots != self._roots:
            from graphcore.execution.engine import Engine

            if self._engine is not None:
                self._engine.close()
            cache = None if self._options.no_cache else shared.cache_folder(self._options)
            engine = Engine(
                registry=self.plugins.registry,
                cache=cache,
                device=shared.device(self._options),
                dtype=self._options.dtype,
                roots=roots,
                out=self._options.out.absolute(),
            )
            self._stack.callback(_say_what_was_not_kept, engine)
            self._engine = self._stack.enter_context(engine)
            self._roots = roots
        return self._engine


def _say_what_was_not_kept(engine: Engine) -> None:
    """Values that the disk did not take are made again next time: nobody should have to guess why."""
    kept = engine.disk
    if kept is not None and kept.reason:
        lost = f"{text.count(kept.dropped, 'value')} not kept" if kept.dropped else "nothing is kept"
        words = f"{lost} in the cache {kept.folder}: {kept.reason}"
        print(text.paint("note:", "bold yellow", sys.stderr), text.printable(words), file=sys.stderr)


def _compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say what differs between the run that made a picture and this one."""
    before, after = then.get("environment"), now["environment"]
    before = before if isinstance(before, dict) else {}
    found = provenance.differences(before, {name: after[name] for name in after if name in before})
    keys = then.get("keys")
    for name, key in now["keys"].items():
        known = keys.get(name) if isinstance(keys, dict) else None
        if known and known != key:
            what = f"output `{name}`: made from something else, or by other code"
            found.append(f"{what} (key {str(known)[:12]} then, {key[:12]} now)")
    if not found:
        print("same environment and same keys as when the picture was made", file=sys.stderr)
    for line in found:
        print(text.paint("differs:", "yellow", sys.stderr), text.printable(line), file=sys.stderr)
