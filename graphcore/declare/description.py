"""A node type as JSON: what editors and programs need to offer it."""

from __future__ import annotations

from typing import Any

from graphcore.declare import ports
from graphcore.declare.node import NodeType, Port
from graphcore.declare.registry import short_name
from graphcore.files.workflow import MISSING


def describe(node: NodeType) -> dict[str, Any]:
    """Everything about a node type, JSON-ready."""
    return {
        "name": node.name,
        "short_name": short_name(node.name),
        "category": node.category,
        "doc": node.doc,
        "pure": node.pure,
        "single": node.single,
        "hooks": [name for name in ("fingerprint", "batch", "infer", "preview") if getattr(node, name) is not None],
        "inputs": {port.name: _port(port) for port in node.inputs.values()},
        "outputs": {port.name: {"type": ports.say(port.annotation)} for port in node.outputs.values()},
    }


def _port(port: Port) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": ports.say(port.annotation),
        "required": port.required,
        "literal": port.literal,
        "help": port.help,
    }
    if port.default is not MISSING:
        described["default"] = plain(port.default)
    if (found := schema(port)) is not None:
        described["schema"] = found
    return described


def schema(port: Port) -> dict[str, Any] | None:
    """The JSON Schema of a literal port; None for one that takes links only, or a mixture that no schema describes."""
    if not port.literal:
        return None
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

    try:
        return port.json_schema()
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        return None


def plain(value: Any) -> Any:
    """A default as JSON holds it."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)
