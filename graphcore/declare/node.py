"""Declaring a node type: `@node` reads a function's signature, which is the schema.

The decorator returns the function unchanged (it stays callable and testable) with its `NodeType` attached; a registry
picks it up from the module that holds it.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import NoneType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from graphcore.declare import docstring, ports
from graphcore.errors import DeclarationError
from graphcore.files.workflow import MISSING, SCOPE_NAMES

F = TypeVar("F", bound=Callable[..., Any])

SINGLE_OUTPUT = "output"
"""Name of the output of a node that has one and does not name it."""

Arguments = Mapping[str, Any]
Fingerprint = Callable[..., "str | tuple[str, ...] | None"]
Pieces = Callable[..., tuple[tuple[str, int], ...]]


@dataclass(frozen=True)
class Batch:
    """How several calls of one node type share a forward pass.

    Args:
        group: Given the arguments of a call, a hashable value; calls with equal values may share. None: this call
            may not.
        run: Given the arguments of each call, the value of each call, in the same order. The first call in the list
            is the one that stands first in the workflow file.
        limit: The largest number of calls taken together.
    """

    group: Callable[[Arguments], Hashable | None]
    run: Callable[[Sequence[Arguments]], Sequence[Any]]
    limit: int = 8


@dataclass(frozen=True, eq=False)
class Port:
    """A named, typed input or output. `annotation` keeps its `Annotated` bounds."""

    name: str
    annotation: Any
    default: Any = MISSING
    help: str = ""

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @cached_property
    def type(self) -> Any:
        """The annotation without `Annotated`."""
        return ports.bare(self.annotation)

    @cached_property
    def literal(self) -> bool:
        """Whether a value can be written in JSON."""
        return ports.is_literal(self.annotation)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.annotation)

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of a literal port."""
        return self._adapter.json_schema()

    @cached_property
    def _plain(self) -> Any:
        """The exact class of a port without bounds, for which no validator is needed."""
        return self.annotation if self.annotation in (int, str, bool) else None

    def validate(self, value: Any) -> Any:
        """The Python value of a JSON literal, strictly: `"20"` is no int, 1 is no bool, NaN is no number.

        Raises:
            ValueError: with a message that says what was expected.
        """
        if self._plain is not None and type(value) is self._plain:
            return value
        try:
            return self._adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
        except ValidationError as error:
            raise ValueError("; ".join(_say(detail) for detail in error.errors())) from None


def _say(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])


@dataclass(frozen=True, eq=False)
class NodeType:
    """A declared node: what the registry, the checker and the executor know of a function.

    Args:
        name: Full name with its name space, `stepgraph/unet`; without one until a registry gives it.
        single: The node has one output, and a link may name just the node.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    category: str
    doc: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    single: bool
    pure: bool
    batch: Batch | None = field(default=None, repr=False)
    infer: Callable[..., Any] | None = field(default=None, repr=False)
    fingerprint: Fingerprint | None = field(default=None, repr=False)
    fingerprint_inputs: tuple[str, ...] = ()
    preview: Callable[[Any], bytes | None] | None = field(default=None, repr=False)
    pieces: Pieces | None = field(default=None, repr=False)
    pieces_inputs: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return self.function.__module__

    @cached_property
    def width(self) -> int:
        """Values that a call gives; a node without outputs gives None."""
        return max(1, len(self.outputs))

    def named(self, name: str) -> NodeType:
        return replace(self, name=name)

    def split(self, result: Any) -> tuple[Any, ...]:
        """The outputs of a call, in the order of `outputs`.

        Raises:
            TypeError: it gave none, too few or too many.
        """
        if self.single or not self.outputs:
            return (result,)
        values = tuple(result)
        if len(values) != len(self.outputs):
            raise TypeError(f"it gave {len(values)} values for {len(self.outputs)} outputs")
        return values


def node(
    *,
    category: str,
    pure: bool = True,
    batch: Batch | None = None,
    infer: Callable[..., Any] | None = None,
    fingerprint: Fingerprint | None = None,
    preview: Callable[[Any], bytes | None] | None = None,
    pieces: Pieces | None = None,
) -> Callable[[F], F]:
    """Declare a function as a node type.

    Parameters become input ports (literal ones get a form field; `Annotated[float, Field(ge=0)]` gives bounds), the
    return type the output (`NamedTuple`: several), the docstring the help.

    Args:
        category: Where people look for it, such as `sampling`.
        pure: False for a node with an effect outside (saving a file): it runs in every run.
        batch: How several calls share one forward pass.
        infer: Called with the node's arguments, in which tensors are `TensorSpec`s and what is not known is
            missing (so every parameter needs a default); returns the outputs in the same manner, or raises
            `InputError`. The checker runs it before anything is loaded.
        fingerprint: Called with those of the node's arguments that it names (paths, mostly); returns the identity of
            the content that the node reads: it becomes part of the key. A tuple with one text per output says what
            each of them comes from, so that other content behind one output changes only what uses that output.
        preview: Given the node's result, a small PNG for people, or None.
        pieces: For a node that cuts a sequence: called with those of the node's arguments that it names, returns for
            each output the name of an input and a number, `("timesteps", 3)`: the output's items are those of that
            input from this one on. They keep their keys, so that a loop over a piece finds in the cache what a loop
            over the whole has computed. (Arguments that are computed in the run are not known to it; then the items
            have keys of their own.)

    Raises:
        DeclarationError: a parameter or the result without a type, a default that is not of its type, a name that
            is taken; the message names function and parameter.
    """

    def declare(function: F) -> F:
        function.__stepgraph_node__ = _read(  # type: ignore[attr-defined]
            function, category, pure, batch, infer, fingerprint, preview, pieces
        )
        return function

    return declare


def declared(thing: object) -> NodeType | None:
    """The node type that `@node` attached to a function; None for anything else."""
    found = getattr(thing, "__stepgraph_node__", None) if inspect.isfunction(thing) else None
    return found if isinstance(found, NodeType) else None


def _read(
    function: Callable[..., Any],
    category: str,
    pure: bool,
    batch: Batch | None,
    infer: Callable[..., Any] | None,
    fingerprint: Fingerprint | None,
    preview: Callable[[Any], bytes | None] | None,
    pieces: Pieces | None,
) -> NodeType:
    name = function.__name__
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DeclarationError(f"node `{name}` ({function.__module__}): a type is not known: {error}") from error
    parameters = inspect.signature(function).parameters
    doc = inspect.getdoc(function) or ""
    helps = docstring.arguments(doc)
    inputs = {p.name: _input(name, p, hints, helps.get(p.name, "")) for p in parameters.values()}
    if "return" not in hints:
        raise DeclarationError(f"node `{name}` has no return type; write `-> Latents`, say, or `-> None`")
    outputs, single = _outputs(name, hints["return"])
    return NodeType(
        name, function, category, doc, inputs, outputs, single, pure, batch, infer,
        fingerprint, _asked(name, "fingerprint", fingerprint, inputs), preview,
        pieces, _asked(name, "pieces", pieces, inputs),
    )  # fmt: skip


def _asked(node: str, name: str, hook: Callable[..., Any] | None, inputs: Mapping[str, Port]) -> tuple[str, ...]:
    """The arguments of the node that a hook asks for."""
    asks = () if hook is None else tuple(inspect.signature(hook).parameters)
    if strangers := [ask for ask in asks if ask not in inputs]:
        raise DeclarationError(f"node `{node}`: its {name} asks for `{strangers[0]}`, which is no parameter")
    return asks


def _input(function: str, parameter: inspect.Parameter, hints: Mapping[str, Any], text: str) -> Port:
    where = f"node `{function}`, parameter `{parameter.name}`"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise DeclarationError(f"{where}: ports have names; `*args`, `**kwargs` and positional-only cannot be ports")
    if parameter.name in SCOPE_NAMES or parameter.name == "from":
        raise DeclarationError(f"{where}: this name has a meaning in workflow files; choose another")
    if parameter.name not in hints:
        raise DeclarationError(f"{where} has no type; write `{parameter.name}: int`, say")
    default = MISSING if parameter.default is parameter.empty else parameter.default
    port = Port(parameter.name, hints[parameter.name], default, text)
    if default is not MISSING and default is not None:
        if not port.literal:
            raise DeclarationError(
                f"{where}: the default {default!r} cannot be written in JSON; only None can be the default of a link"
            )
        try:
            port._adapter.validate_python(default)
        except ValidationError as error:
            reason = "; ".join(_say(detail) for detail in error.errors())
            raise DeclarationError(f"{where}: the default {default!r} is not of its type: {reason}") from error
    if default is None and not ports.accepts_none(port.annotation):
        raise DeclarationError(f"{where}: the default is None; write `| None` in its type")
    return port


def _outputs(function: str, annotation: Any) -> tuple[dict[str, Port], bool]:
    if annotation in (None, NoneType):
        return {}, False
    fields = getattr(annotation, "_fields", None)
    if isinstance(annotation, type) and issubclass(annotation, tuple) and fields:
        hints = typing.get_type_hints(annotation, include_extras=True)
        if untyped := [name for name in fields if name not in hints]:
            raise DeclarationError(f"node `{function}`: output `{untyped[0]}` has no type; use typing.NamedTuple")
        return {name: Port(name, hints[name]) for name in fields}, False
    return {SINGLE_OUTPUT: Port(SINGLE_OUTPUT, annotation)}, True
