"""The deep check: the real nodes run once, on tensors that have shapes but no content. Nothing is loaded.

A node runs for real if no `infer` hook states its outputs, or if it uses a model (a value whose class says
`__stepgraph_weights__`): then its shapes, operations and memory are those of the run. All else is inferred. Of a loop
one iteration is run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from graphcore.check import left_out
from graphcore.check.inference import UNKNOWN, Frame, Interpreter
from graphcore.declare import ports
from graphcore.declare.node import NodeType
from graphcore.declare.registry import Registry, short_name
from graphcore.errors import CheckFailed, Problem, StepgraphError, say_foreign
from graphcore.files.described import show
from graphcore.files.workflow import MISSING, NodeCall, Value, Workflow
from graphcore.runtime import Runtime, _runtime
from graphcore.values import tensors
from graphcore.values.shapes import TensorSpec


@dataclass(frozen=True)
class NodeReport:
    """What a run will make and cost at one node.

    Args:
        node: Path such as `denoise.unet`.
        outputs: Shapes by name of the output.
        flops: Floating-point operations of one call (multiplications and additions of matrices, convolutions and
            attention).
        bytes: Memory in use at the peak of a call: its own tensors and all models so far.
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
        problems = deep.run(left_out.plain(workflow, registry), inputs or {}).problems
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


@dataclass(frozen=True)
class _Cost:
    """What a call gives, in specifications, and costs: `bytes` of its own at the peak."""

    outputs: Mapping[str, Any]
    flops: int = 0
    bytes: int = 0


class _Deep(Interpreter):
    """Calls nodes for real. Responsibilities: which ones, and what they cost."""

    lazy = False

    def __init__(self, registry: Registry, fakes: tensors.Fakes) -> None:
        super().__init__(registry)
        self._fakes = fakes
        self._reports: dict[str, NodeReport] = {}
        self._reached: set[str] = set()
        self._costs: dict[Any, _Cost] = {}

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
        cost = None
        if _runs_for_real(node_type, arguments):
            given = {name: arguments.get(name, port.default) for name, port in node_type.inputs.items()}
            key = _key((node_type.name, given))
            if (cost := self._costs.get(key)) is None and (cost := self._run(node, node_type, given, frame)):
                self._costs[key] = cost
        outputs = super().call(node, node_type, arguments, frame) if cost is None else cost.outputs
        self._record(node, node_type, frame, outputs, cost)
        return outputs

    def _run(self, node: NodeCall, node_type: NodeType, given: Mapping[str, Any], frame: Frame) -> _Cost | None:
        """What a call gives and costs; None if it cannot be made without content."""
        self._fakes.begin()
        try:
            result = node_type.function(**{name: _filled(value, self._fakes) for name, value in given.items()})
            values = zip(node_type.outputs, node_type.split(result), strict=True)
            outputs = {name: _specified(value) for name, value in values}
        except _SizeUnknownError:
            return None
        except StepgraphError as error:
            self.refused(frame, node.name, error)
            return _Cost({})
        except Exception as error:  # foreign code, on tensors that it was not written for
            if tensors.is_content_needed(error) or not isinstance(error, (RuntimeError, ValueError)):
                return None
            name = short_name(node_type.name)
            self.wrong(frame, node.name, "deep", f"`{name}` fails on values of these shapes: {say_foreign(error)}",
                       got=", ".join(f"{key} {shape(value)}" for key, value in given.items()))  # fmt: skip
            return _Cost({})
        del result, values
        return _Cost(outputs, self._fakes.flops, self._fakes.peak - self._fakes.live)

    def _record(
        self, node: NodeCall, node_type: NodeType, frame: Frame, outputs: Mapping[str, Any], cost: _Cost | None
    ) -> None:
        path = frame.place.full + node.name
        shapes = {name: shape(outputs.get(name, UNKNOWN)) for name in node_type.outputs}
        flops, peak = (0, self._fakes.live) if cost is None else (cost.flops, self._fakes.live + cost.bytes)
        calls, before = frame.place.calls, self._reports.get(path)
        if before is not None:  # another item of a map, or a second look at a loop
            flops, peak = max(flops, before.flops), max(peak, before.bytes)
            calls = before.calls
        name = short_name(node_type.name)
        self._reports[path] = NodeReport(path, name, shapes, flops, peak, calls, cost is not None)


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

    def fill(spec: Any) -> Any:
        if not isinstance(spec, TensorSpec):
            return spec
        if None in spec.shape:
            raise _SizeUnknownError
        return fakes.make([size for size in spec.shape if size is not None], spec.dtype)

    return _mapped(value, fill)


def _specified(value: Any) -> Any:
    """A value in which specifications take the place of tensors."""

    def specify(leaf: Any) -> Any:
        return TensorSpec(tuple(leaf.shape), tensors.dtype_name(leaf)) if tensors.is_tensor(leaf) else leaf

    return _mapped(value, specify)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with its leaves changed, through lists, dictionaries and dataclasses."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(item, change) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, change) for item in value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, (type, TensorSpec)):
        return change(value)
    parts = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    changed = {name: new for name, part in parts.items() if (new := _mapped(part, change)) is not part}
    return dataclasses.replace(value, **changed) if changed else value


def _key(value: Any) -> Any:
    """Equal for values that are described alike: same types, plain content and shapes."""
    if isinstance(value, (list, tuple)):
        return type(value), *(_key(item) for item in value)
    if isinstance(value, dict):
        return type(value), *((str(key), _key(item)) for key, item in value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), *(_key(getattr(value, f.name)) for f in dataclasses.fields(value))
    return _Identity(value) if not isinstance(value, (bool, int, float, str, bytes, NoneType)) else (type(value), value)


class _Identity:
    """An object of a kind that is not known: equal to itself only."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other._value is self._value


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
