"""The engine: node types, cache and device together; runs workflows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

from graphcore.cache import DiskCache, Info, MemoryCache
from graphcore.check import checker, left_out
from graphcore.declare.node import NodeType
from graphcore.declare.registry import Registry
from graphcore.errors import CheckFailed, StepgraphError, TooManyIterations, did_you_mean
from graphcore.events import Event
from graphcore.execution import explain, identity
from graphcore.execution.compiler import compile_workflow
from graphcore.execution.dry_run import DryRun
from graphcore.execution.executor import Executor
from graphcore.execution.explain import Explanation
from graphcore.execution.identity import Header
from graphcore.execution.journal import Journal
from graphcore.execution.program import Program
from graphcore.execution.run import Outputs, Run
from graphcore.files import provenance
from graphcore.files.workflow import MISSING, Workflow
from graphcore.plugins import digests
from graphcore.plugins.loader import Plugins
from graphcore.runtime import Runtime
from graphcore.values import keys, tensors

MEMORY_LIMIT = 2 * 2**30
DISK_LIMIT = 20 * 2**30

AnyDryRun = TypeVar("AnyDryRun", bound=DryRun)


class Engine:
    """Runs workflows. Use it as a context manager, or call `close` so that the last values reach the disk.

    Args:
        registry: Node types; by default the built-in ones.
        cache: Folder of the disk tier; None keeps values in memory only.
        memory_limit, disk_limit: Bytes of each tier.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `auto` (half precision on a GPU, float32 on a CPU), `float32`, `float16`, `bfloat16`.
        roots: Folders that nodes may read from; None allows all.
        out: The folder that nodes may write to; None allows none.
    """

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        cache: Path | str | None = None,
        memory_limit: int = MEMORY_LIMIT,
        disk_limit: int = DISK_LIMIT,
        device: str = "auto",
        dtype: str = "auto",
        roots: Sequence[Path] | None = None,
        out: Path | str | None = None,
    ) -> None:
        self._registry = Plugins().registry if registry is None else registry
        folder = None if cache is None else Path(cache)
        self._memory = MemoryCache(memory_limit)
        self._disk = None if folder is None else DiskCache(folder, disk_limit, self._registry.types)
        self._journal = Journal(folder)
        self._executor = Executor(self._memory, self._disk)
        self._clerk = ThreadPoolExecutor(1, "stepgraph-journal")
        self._noted: Future[None] | None = None
        self._device, self._dtype = device, dtype
        self._roots = None if roots is None else tuple(roots)
        self._out = None if out is None else Path(out)
        self._programs: WeakKeyDictionary[Workflow, Program] = WeakKeyDictionary()
        self._checked: WeakKeyDictionary[Workflow, bytes] = WeakKeyDictionary()
        self._headers: dict[NodeType, bytes] = {}

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, workflow: Workflow, on_event: Callable[[Event], None] | None = None, /, **inputs: Any) -> Outputs:
        """Run a workflow to its end.

        Args:
            on_event: Called with each event, in the thread of the run.
            inputs: Values of the workflow's inputs.

        Raises:
            CheckFailed: before anything runs, with all that is wrong with workflow or inputs.
            NodeFailed: a node raised; its `__cause__` is the original exception.
        """
        return self.start(workflow, inputs, on_event=on_event).finish()

    def start(
        self,
        workflow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        *,
        outputs: Iterable[str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        previews: bool = False,
    ) -> Run:
        """A run that goes as far as one iterates over it (or calls its `finish`).

        Args:
            outputs: Names of the outputs to make; by default all.
            previews: Have nodes with a `preview` hook make a small picture of each value, as an event.
        """
        given = dict(inputs or {})
        self.check(workflow, given)
        runtime, program = self.runtime(workflow), self._compile(workflow)
        values = complete(workflow, given)
        wanted = self._wanted(workflow, program, outputs)
        described = provenance.record(workflow, values)
        described["environment"] |= {"device": runtime.device, "dtype": runtime.dtype}
        runtime = replace(runtime, provenance=described)
        ended = self._ended(described, program) if self._disk is not None else None
        header = self._header_for(runtime)
        return Run(self._executor, program, values, wanted, runtime, header, on_event, ended, previews)

    def check(self, workflow: Workflow, inputs: Mapping[str, Any] | None = None) -> None:
        """Check a workflow with its inputs, once: what is run again is not checked again.

        Raises:
            CheckFailed: with all that is wrong with workflow or inputs.
        """
        given = dict(inputs or {})
        seen = keys.digest(keys.encode([given, self.device, self.dtype]))
        if self._checked.get(workflow) == seen:
            return
        with self.surroundings(workflow):
            problems = checker.check(workflow, self._registry, given)
        if problems:
            raise CheckFailed(problems)
        self._checked[workflow] = seen

    def _ended(self, described: Mapping[str, Any], program: Program) -> Callable[[Run], None]:
        """Writes down what a run was made from, once it has ended."""

        def write(run: Run) -> None:
            record = {
                **described,
                "inputs": run.inputs,
                "digests": {type_.name: digests.node_digest(type_) for type_ in program.types},
                "device": tensors.device_kind(run.runtime.device),
                "dtype": run.runtime.dtype,
                "fingerprints": run.fingerprints,
            }
            if self._noted is not None and self._noted.done():
                self._noted.result()  # raises what went wrong then
            # by a thread of its own: a run does not wait for a database
            self._noted = self._clerk.submit(self._journal.record, described["workflow"], record, run.lengths)

        return write

    def runtime(self, workflow: Workflow) -> Runtime:
        """The surroundings in which this engine runs a workflow."""
        base = workflow.path.parent if workflow.path is not None else Path.cwd()
        return Runtime(self.device, self.dtype, self._roots, self._out, base)

    @property
    def device(self) -> str:
        """Where models run, `auto` resolved."""
        return tensors.resolve_device(self._device)

    @property
    def dtype(self) -> str:
        """In what models run, `auto` resolved."""
        return tensors.resolve_dtype(self._dtype, self.device)

    @contextmanager
    def surroundings(self, workflow: Workflow) -> Iterator[None]:
        """Within, hooks of nodes find the surroundings of a run of this workflow (for checks outside of a run)."""
        with self._executor.within(self.runtime(workflow)):
            yield

    def _wanted(self, workflow: Workflow, program: Program, outputs: Iterable[str] | None) -> dict[str, int]:
        names = list(program.outputs) if outputs is None else list(outputs)
        for name in names:
            if name in workflow.outputs and name not in program.outputs:
                raise StepgraphError(f"the output `{name}` is not made: it needs a node that is muted")
            if name not in program.outputs:
                hint = did_you_mean(name, program.outputs) or f"it has {', '.join(program.outputs)}"
                raise StepgraphError(f"the workflow has no output `{name}`; {hint}")
        return {name: program.outputs[name] for name in names}

    def _compile(self, workflow: Workflow) -> Program:
        if (program := self._programs.get(workflow)) is None:
            plain = left_out.plain(workflow, self._registry)
            self._programs[workflow] = program = compile_workflow(plain, self._registry)
        return program

    # -- identity ------------------------------------------------------------------------------------------------

    def _header_for(self, runtime: Runtime) -> Header:
        device, headers = tensors.device_kind(runtime.device), self._headers

        def header(type_: NodeType) -> bytes:
            if (found := headers.get(type_)) is None:
                code = digests.node_digest(type_)
                headers[type_] = found = identity.header(type_, code, device, runtime.dtype)
            return found

        return header

    def value(self, key: str) -> tuple[Any, ...] | None:
        """The outputs of the call with this key (hexadecimal, as events tell it), if the cache still has them."""
        try:
            wanted = bytes.fromhex(key)
        except ValueError:
            return None
        entry = self._memory.get(wanted) or (self._disk.get(wanted) if self._disk is not None else None)
        return None if entry is None else entry.outputs

    def has(self, key: bytes) -> bool:
        """Whether the cache has the value of the call with this key; on the disk, nothing is read."""
        return self._memory.get(key) is not None or (self._disk is not None and self._disk.has(key))

    # -- without running -----------------------------------------------------------------------------------------

    @contextmanager
    def rehearsal(self, kind: type[AnyDryRun], workflow: Workflow, inputs: Mapping[str, Any]) -> Iterator[AnyDryRun]:
        """A dry run of a checked workflow, in the surroundings of a run; have it `look` inside the `with`."""
        runtime = self.runtime(workflow)
        program, header = self._compile(workflow), self._header_for(runtime)
        with self._executor.within(runtime):
            yield kind(program, complete(workflow, inputs), header, identity.identify, self._journal)

    def explain(
        self, workflow: Workflow, inputs: Mapping[str, Any] | None = None, *, most_iterations: float = math.inf
    ) -> list[Explanation]:
        """Per node: cached, or will run and why. Nothing is run.

        Args:
            most_iterations: Of all loops together, which are held in memory.

        Raises:
            CheckFailed: with all that is wrong with workflow or inputs.
            TooManyIterations: the loops make more.
        """
        given = dict(inputs or {})
        self.check(workflow, given)
        with self.rehearsal(DryRun, workflow, given) as now:
            now.most_iterations = most_iterations
            now.look(self._disk.has if self._disk is not None else lambda key: False)
            if now.iterations > most_iterations:
                raise TooManyIterations(f"the loops make more than {most_iterations} iterations: too many to explain")
            return explain.explain(workflow, now, self._registry, self._journal)

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        return self._registry

    @property
    def disk(self) -> Info | None:
        """What the disk tier holds, and what it could not keep; None where there is none."""
        return None if self._disk is None else self._disk.info()

    def use(self, registry: Registry) -> None:
        """Take up a new snapshot of the node types (after a plugin was reloaded); runs under way keep the old one."""
        if dict(registry.types) != dict(self._registry.types):
            self._memory.clear()  # values of classes that were replaced; on disk they are names, not classes
        self._registry = registry
        self._programs, self._checked, self._headers = WeakKeyDictionary(), WeakKeyDictionary(), {}
        if self._disk is not None:
            self._disk.types = registry.types

    def flush(self) -> None:
        """Wait until all values are on disk, and all runs in the journal."""
        if self._disk is not None:
            self._disk.flush()
        if self._noted is not None:
            self._noted.result()

    def close(self) -> None:
        """Write what is still to be written."""
        self.flush()
        self._clerk.shutdown()
        if self._disk is not None:
            self._disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def complete(workflow: Workflow, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all inputs: those given, else their defaults."""
    values = {name: inputs.get(name, described.default) for name, described in workflow.inputs.items()}
    return {name: value for name, value in values.items() if value is not MISSING}
