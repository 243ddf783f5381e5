"""The OpenAPI 3.1 document of the operations, from the same declarations that serve them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from server.http import problem
from server.http.operation import JSON, Operation

REF = "#/components/schemas/{model}"

PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, in words for people."},
        "problems": {"type": "array", "items": {"type": "object"}, "description": "What the checker found."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "What is wrong with the request."},
    },
}

_PARAMETER = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[\d,]+\})+))?\}")
"""A variable part of a route: its name, and the pattern that it must match."""


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    operations = list(operations)
    schemas, definitions = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PARAMETER.sub(lambda match: "{" + match[1] + "}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stepgraph", "version": version, "description": "Runs workflows of latent diffusion."},
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Problem": PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _schemas(operations: list[Operation]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of each type that goes in or out (by the type's identity and direction), and what they refer to."""
    wanted: dict[tuple[int, str], TypeAdapter[Any]] = {}
    for operation in operations:
        if operation.body is not None:
            wanted[id(operation.body), "validation"] = TypeAdapter(operation.body)
        for type_ in operation.returns.values():
            if type_ is not None:
                wanted[id(type_), "serialization"] = TypeAdapter(type_)
    asked = [(key, key[1], adapter) for key, adapter in wanted.items()]
    found, shared = TypeAdapter.json_schemas(asked, ref_template=REF)  # type: ignore[arg-type]
    for operation in operations:
        if operation.query is not None:
            shared.setdefault("$defs", {}).update(operation.query.model_json_schema(ref_template=REF).get("$defs", {}))
    schemas = {key[0]: schema for key, schema in found.items()}  # keyed by ((id, direction), direction)
    return schemas, shared.get("$defs", {})


def _describe(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, schemas),
    }
    if operation.description:
        described["description"] = operation.description
    if parameters := [*_path_parameters(operation.path), *_query_parameters(operation.query)]:
        described["parameters"] = parameters
    if operation.body is not None:
        key = (id(operation.body), "validation")
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[key]}}}
    elif operation.consumes:
        content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in operation.consumes}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, type_ in operation.returns.items():
        content: dict[str, Any] = {kind: {} for kind in operation.produces} if status == HTTPStatus.OK else {}
        if type_ is not None:
            content[JSON] = {"schema": schemas[id(type_), "serialization"]}
        found[str(status)] = {"description": HTTPStatus(status).phrase, **({"content": content} if content else {})}
    found["default"] = {
        "description": "What went wrong.",
        "content": {problem.CONTENT_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }
    return found


def _path_parameters(path: str) -> list[dict[str, Any]]:
    found = []
    for name, pattern in _PARAMETER.findall(path):
        schema = {"type": "string", **({"pattern": f"^{pattern}$"} if pattern else {})}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _query_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=REF)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": {key: value for key, value in one.items() if key not in ("title", "description")},
            **({"description": one["description"]} if "description" in one else {}),
        }
        for name, one in schema["properties"].items()
    ]
