"""The deep check: the real nodes run once, on tensors that have shapes but no content. Nothing is loaded.

A node runs for real if no `infer` hook states its outputs, or if it uses a model (a value whose class says
`__stepgraph_weights__`): then its shapes, operations and memory are those of the run. All else is inferred. Of a loop
one iteration is run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcore import ports, tensors
from graphcore.described import show
from graphcore.errors import CheckFailed, Problem, StepgraphError
from graphcore.inference import UNKNOWN, Frame, Interpreter, say_error
from graphcore.node import NodeType
from graphcore.registry import Registry, short_name
from graphcore.runtime import Runtime, _runtime
from graphcore.shapes import TensorSpec
from graphcore.workflow import MISSING, NodeCall, Value, Workflow


@dataclass(frozen=True)
class NodeReport:
    """What a run will make and cost at one node.

    Args:
        node: Path such as `denoise.unet`.
        outputs: Shapes by name of the output.
        flops: Floating-point operations of one call (multiplications and additions of matrices, convolutions and
            attention).
        bytes: Memory in use at the peak of a call: all models so far, all values alive.
        calls: How often the run calls it; None if that is not known.
        traced: It ran on tensors without content; otherwise its shapes are those that its `infer` hook states.
    """

    node: str
    type: str
    outputs: Mapping[str, str]
    flops: int
    bytes: int
    calls: int | None
    traced: bool

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check(workflow: Workflow, registry: Registry, inputs: Mapping[str, Any] | None = None) -> list[NodeReport]:
    """Run a workflow without content, and report on every node that the run would call, in the order of the calls.

    Args:
        workflow: One that `checker.check` finds no problems in.
        inputs: Values of its inputs; defaults for the rest.

    Raises:
        CheckFailed: with what is wrong.
    """
    fakes = tensors.Fakes()
    deep = _Deep(registry, fakes)
    with _surrounded(workflow), fakes.session():
        problems = deep.run(workflow, inputs or {}).problems
    if problems:
        raise CheckFailed(problems)
    return deep.rows()


@contextmanager
def _surrounded(workflow: Workflow) -> Iterator[None]:
    """On the CPU, whatever the machine has: shapes and operations are the same."""
    base = workflow.path.parent if workflow.path is not None else Path.cwd()
    given = _runtime.get(None) or Runtime(base=base)
    token = _runtime.set(dataclasses.replace(given, device="cpu", out=None, pretended={}))
    try:
        yield
    finally:
        _runtime.reset(token)


class _Deep(Interpreter):
    """Calls nodes for real. Responsibilities: which ones, and what they cost."""

    lazy = False

    def __init__(self, registry: Registry, fakes: tensors.Fakes) -> None:
        super().__init__(registry)
        self._fakes = fakes
        self._reports: dict[str, NodeReport] = {}
        self._reached: set[str] = set()

    def rows(self) -> list[NodeReport]:
        """Reports of the nodes that the outputs need, in the order of the calls."""
        return [report for path, report in self._reports.items() if all(p in self._reached for p in _prefixes(path))]

    def found(self, frame: Frame, wanted: Iterable[Value]) -> list[Problem]:
        wanted = list(wanted)
        self._reached.update(frame.place.full + name for name in frame.needed(wanted))
        return super().found(frame, wanted)

    def call(
        self, node: NodeCall, node_type: NodeType, arguments: Mapping[str, Any], frame: Frame
    ) -> Mapping[str, Any]:
        self._fakes.begin()
        real = _runs_for_real(node_type, arguments)
        traced = self._run(node, node_type, arguments, frame) if real else None
        outputs = super().call(node, node_type, arguments, frame) if traced is None else traced
        self._record(node, node_type, frame, outputs, traced is not None)
        return outputs

    def _run(
        self, node: NodeCall, node_type: NodeType, arguments: Mapping[str, Any], frame: Frame
    ) -> Mapping[str, Any] | None:
        """The outputs of a call; None if it cannot be made without content."""
        given = {name: arguments.get(name, port.default) for name, port in node_type.inputs.items()}
        try:
            given = {name: _filled(value, self._fakes) for name, value in given.items()}
            return dict(zip(node_type.outputs, node_type.split(node_type.function(**given)), strict=True))
        except _SizeUnknownError:
            return None
        except StepgraphError as error:
            self.refused(frame, node.name, error)
            return {}
        except Exception as error:  # foreign code, on tensors that it was not written for
            if tensors.is_content_needed(error) or not isinstance(error, (RuntimeError, ValueError)):
                return None
            name = short_name(node_type.name)
            self.wrong(frame, node.name, "deep", f"`{name}` fails on values of these shapes: {say_error(error)}",
                       got=", ".join(f"{key} {shape(value)}" for key, value in given.items()))  # fmt: skip
            return {}

    def _record(
        self, node: NodeCall, node_type: NodeType, frame: Frame, outputs: Mapping[str, Any], traced: bool
    ) -> None:
        path = frame.place.full + node.name
        shapes = {name: shape(outputs.get(name, UNKNOWN)) for name in node_type.outputs}
        calls, before = frame.place.calls, self._reports.get(path)
        flops, peak = self._fakes.flops, self._fakes.peak
        if before is not None:  # another item of a map, or a second look at a loop
            flops, peak = max(flops, before.flops), max(peak, before.bytes)
            calls = before.calls
        self._reports[path] = NodeReport(path, short_name(node_type.name), shapes, flops, peak, calls, traced)


class _SizeUnknownError(Exception):
    pass


def _runs_for_real(node_type: NodeType, arguments: Mapping[str, Any]) -> bool:
    """Nodes with effects outside, or that read files, never run in a check."""
    if not node_type.pure or node_type.fingerprint is not None:
        return False
    if any(port.default is MISSING and name not in arguments for name, port in node_type.inputs.items()):
        return False
    weights = any(getattr(type(value), "__stepgraph_weights__", False) for value in arguments.values())
    return weights or node_type.infer is None


def _filled(value: Any, fakes: tensors.Fakes) -> Any:
    """A value in which tensors without content take the place of specifications."""
    if isinstance(value, TensorSpec):
        if any(size is None for size in value.shape):
            raise _SizeUnknownError
        return fakes.make([size for size in value.shape if size is not None], value.dtype)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_filled(item, fakes) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(item, fakes) for item in value)
    if isinstance(value, dict):
        return {key: _filled(item, fakes) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    parts = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    filled = {name: _filled(part, fakes) for name, part in parts.items()}
    changed = {name: part for name, part in filled.items() if part is not parts[name]}
    return dataclasses.replace(value, **changed) if changed else value


def shape(value: Any) -> str:
    """What a value looks like: `(1, 4, 64, 64)`, or the shapes of its parts, or the value if it is plain."""
    if value is UNKNOWN:
        return "?"
    if isinstance(found := getattr(value, "shape", None), tuple):
        return f"({', '.join('?' if size is None else str(size) for size in found)})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return show(value)
    if isinstance(value, (list, tuple)):
        return _sequence(value)
    if dataclasses.is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        tensors_ = {
            name: shape(part) for name, part in parts.items() if isinstance(getattr(part, "shape", None), tuple)
        }
        if len(tensors_) == 1:
            return next(iter(tensors_.values()))
        if tensors_:
            return ", ".join(f"{name} {found}" for name, found in tensors_.items())
    return ports.say(type(value))


def _sequence(value: Sequence[Any]) -> str:
    shapes = list(dict.fromkeys(shape(item) for item in value[:100]))
    return f"{len(value)} x {shapes[0]}" if len(shapes) == 1 else f"a list of {len(value)}"


def _prefixes(path: str) -> Iterator[str]:
    names = path.split(".")
    return (".".join(names[: index + 1]) for index in range(len(names)))
