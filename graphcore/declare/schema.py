"""The JSON Schema (2020-12) of workflow files with the installed nodes: completion and squiggles in editors.

It says less than the checker (nothing about what links name), but never refuses what the checker takes.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeAlias

from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from graphcore.declare import docstring, ports
from graphcore.declare.node import NodeType, Port
from graphcore.declare.registry import Registry, short_name
from graphcore.files import described, form, reader
from graphcore.files.workflow import SCOPE_NAMES

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NAME = form.NAME.pattern.removesuffix(r"\Z") + "$"
_LINK = r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)?$"


def workflow_schema(registry: Registry) -> Schema:
    """The JSON Schema of workflow files that use the nodes of a registry."""
    definitions: dict[str, Schema] = {
        "link": _object(
            {"from": {"type": "string", "pattern": _LINK, "description": "`node.output`, or `node` where it has one"}},
            required=["from"], description="The output of another node, or `inputs.name`.",
        ),
        "value": {
            "description": "A literal, a link, or a list with links in it.",
            "if": {"type": "object", "required": ["from"]}, "then": _ref("link"),
        },
        "values": _named(_ref("value")),
        "nodes": {
            "type": "object", "additionalProperties": _ref("node"),
            "propertyNames": {"pattern": f"^{_NAME}", "not": {"enum": list(SCOPE_NAMES)}},
        },
        "input": _input(),
        "node": _node(registry),
        "left_out": {"anyOf": [_true("mute"), _true("bypass")]},
    }  # fmt: skip
    definitions.update({f"node.{name}": schema for name, schema in _structures().items()})
    for known in registry:
        definitions[f"node.{_key(known.name)}"] = _call(known, definitions)
    top = _object(
        {
            "$schema": {"type": "string"},
            "stepgraph": {"const": reader.VERSION, "description": "The version of the format."},
            "title": {"type": "string"},
            "description": {"type": "string"},
            "inputs": _named(_ref("input"), "What can be set from outside, with --set name=value."),
            "nodes": _ref("nodes"),
            "outputs": {**_named(_ref("value"), "What a run makes."), "minProperties": 1},
            "layout": {"description": "The editor's; the engine ignores it."},
        },
        required=["stepgraph", "nodes", "outputs"],
    )
    return {"$schema": DIALECT, "title": "Stepgraph workflow", **top, "$defs": definitions}


# -- nodes -----------------------------------------------------------------------------------------------------


def _node(registry: Registry) -> Schema:
    """A node by its type. `if`/`then` rather than `oneOf`, so that an editor points at what is wrong in the node."""
    kinds = {name: [name] for name in reader.STRUCTURES}
    texts = dict(_WORDS)
    for known in registry:
        short = short_name(known.name)
        kinds[_key(known.name)] = list(dict.fromkeys([short, known.name]))
        texts.update(dict.fromkeys(kinds[_key(known.name)], docstring.summary(known.doc)))
    names = [name for written in kinds.values() for name in written]
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": names, "enumDescriptions": [texts[name] for name in names]}},
        "not": {"allOf": [_true("mute"), _true("bypass")]},
        "allOf": [
            {"if": {"properties": {"type": {"enum": written}}, "required": ["type"]}, "then": _ref(f"node.{key}")}
            for key, written in kinds.items()
        ],
    }


_WORDS = {
    "loop": "Runs its body once per item of `each` (or `times` times); `carry` goes from one iteration to the next.",
    "map": "Runs its body once per item, or per combination of items; gives lists.",
    "switch": "The value of the case that `select` names; the other cases are not computed.",
    "workflow": "Another workflow file as a node.",
}


def _structures() -> dict[str, Schema]:
    value, values = _ref("value"), _ref("values")
    inputs = {**values, "description": "Values from outside of the body, there called `inputs.name`."}
    each = {**_ref("values"), "description": "Sequences to go through; in the body, `each.name` is the item."}
    loop_body = _object(
        {"nodes": _ref("nodes"), "carry": {**values, "description": "The next values, from nodes of the body."},
         "collect": {**values, "description": "One value per iteration; the loop gives them as lists."}, "layout": {}},
        required=["nodes"],
    )  # fmt: skip
    map_body = _object({"nodes": _ref("nodes"), "outputs": values, "layout": {}}, required=["nodes", "outputs"])
    carry = {**values, "description": "The first values of what goes from one iteration to the next."}
    times = {"anyOf": [{"type": "integer", "minimum": 0}, _ref("link")]}
    loop = _structure(
        "loop", {"inputs": inputs, "each": each, "times": times, "carry": carry, "body": loop_body}, ["body"]
    )
    mode = {"enum": ["zip", "product"], "default": "zip", "description": "Item by item, or every combination."}
    selected = {"anyOf": [{"type": ["string", "integer", "boolean"]}, _ref("link")]}
    cases = {"type": "object", "additionalProperties": value}
    path = {"type": "string", "description": "A file beside this one, or the name of a shipped workflow."}
    return {
        "loop": {**loop, "anyOf": [{"required": ["each"]}, {"required": ["times"]}]},
        "map": _structure(
            "map", {"inputs": inputs, "each": {**each, "minProperties": 1}, "mode": mode, "body": map_body},
            ["each", "body"],
        ),
        "switch": _structure("switch", {"select": selected, "cases": cases, "default": value}, ["select", "cases"]),
        "workflow": _structure("workflow", {"path": path, "inputs": values}, ["path"]),
    }  # fmt: skip


def _structure(name: str, properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return _object({**_common(), **properties}, required=["type", *required], description=_WORDS[name])


def _common() -> dict[str, Schema]:
    texts = {"type": {}, "title": {"type": "string"}, "note": {"type": "string"}}
    return {**texts, **{key: {"type": "boolean", "description": says} for key, says in _SKIPS.items()}}


_SKIPS = {
    "mute": "Leaves the node out, with all that cannot do without it.",
    "bypass": "Leaves the node out; in place of each output comes the first of its inputs that is of the same type.",
}


def _true(key: str) -> Schema:
    return {"required": [key], "properties": {key: {"const": True}}}


def _call(known: NodeType, definitions: dict[str, Schema]) -> Schema:
    ports_ = {name: _port(port, f"{_key(known.name)}.{name}", definitions) for name, port in known.inputs.items()}
    required = [name for name, port in known.inputs.items() if port.required]
    names = _object({name: {} for name in ports_}, required=[])
    inputs: Schema = {"properties": ports_, **({"required": required} if required else {})}
    values: Schema = {"properties": {"inputs": inputs}, **({"required": ["inputs"]} if required else {})}
    call = _object({**_common(), "inputs": names}, required=["type"], description=known.doc)
    return {**call, "if": _ref("left_out"), "else": values}


# -- ports -----------------------------------------------------------------------------------------------------


def _port(port: Port, prefix: str, definitions: dict[str, Schema]) -> Schema:
    """What may stand at a port: a literal, a link, a list with links."""
    forms: list[Schema] = []
    if port.literal:
        forms.append(_literal(port, prefix, definitions))
    elif ports.accepts_none(port.annotation):
        forms.append({"type": "null"})
    forms.append(_ref("link"))
    item = ports.item_type(port.type)
    if item is not None:
        inner = dataclasses.replace(port, annotation=item)
        literal = [_literal(inner, f"{prefix}.item", definitions)] if inner.literal else []
        forms.append({"type": "array", "items": {"anyOf": [*literal, _ref("link")]}})
    what = f"{ports.say(port.type)}. {port.help}".strip()
    schema: Schema = {"description": what, "anyOf": forms}
    default = _json(port.default) if not port.required else None
    return schema if default is None else {**schema, "default": default}


def _literal(port: Port, prefix: str, definitions: dict[str, Schema]) -> Schema:
    try:
        schema = port.json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return {}  # a type that JSON Schema cannot say; the checker can
    for name, inner in schema.pop("$defs", {}).items():
        definitions[f"{prefix}.{_key(name)}"] = _moved(inner, prefix)
    found: Schema = _moved({key: value for key, value in schema.items() if key not in ("default", "title")}, prefix)
    return found


def _moved(schema: Any, prefix: str) -> Any:
    """A schema whose references go to definitions of the whole document."""
    if isinstance(schema, list):
        return [_moved(item, prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"#/$defs/{prefix}.{_key(value.removeprefix('#/$defs/'))}"
        if key == "$ref" and isinstance(value, str)
        else _moved(value, prefix)
        for key, value in schema.items()
    }


def _json(value: Any) -> Any:
    """A default as it is written in JSON; None if it cannot be."""
    if isinstance(value, enum.Enum):
        return _json(value.value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else None


# -- small forms -----------------------------------------------------------------------------------------------


def _input() -> Schema:
    return _object(
        {
            "type": {"enum": list(described.TYPES)},
            "default": {},
            "description": {"type": "string"},
            "minimum": {"type": "number"},
            "maximum": {"type": "number"},
            "enum": {"type": "array", "minItems": 1},
            "items": {"enum": list(described.TYPES)},
        },
        required=["type"],
    )


def _object(properties: Mapping[str, Schema], *, required: list[str], description: str = "") -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        schema["required"] = required
    return {**schema, "description": description} if description else schema


def _named(inner: Schema, description: str = "") -> Schema:
    schema: Schema = {"type": "object", "propertyNames": {"pattern": f"^{_NAME}"}, "additionalProperties": inner}
    return {**schema, "description": description} if description else schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _key(name: str) -> str:
    """A name that needs no escape in a JSON pointer."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "." for c in name)
