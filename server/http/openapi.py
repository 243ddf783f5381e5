"""The OpenAPI 3.1 document of the operations, from the same declarations that serve them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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

OPENAI_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "description": "What went wrong, as clients of OpenAI's API read it.",
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}

BINARY = {"type": "string", "format": "binary"}

ALWAYS = (400, 401, 403, 421, 500, 503, 507)
"""Failures of any request: a damaged one, no token, a page of another site, a name that is not ours, our mistake, a
queue that another process holds, a full disk."""

WITH_BODY = (408, 413, 415, 422)
"""Failures of requests that bring a body: it is slow, large, of another type, or not what is wanted."""

MEANINGS = {
    400: "The request is damaged.", 401: "A token is needed.", 403: "Pages of other sites may not ask.",
    404: "There is no such thing.", 406: "The output is no file.", 408: "The body did not arrive in time.",
    409: "Not possible as things stand.", 412: "It changed since it was read.", 413: "Too large.",
    415: "Of a type that is not taken.", 421: "The server is not called by this name.",
    422: "What was sent is not what is wanted.", 429: "Too many requests, or jobs; wait `Retry-After` seconds.",
    500: "A mistake in the server, or of a worker.", 503: "Not now; wait `Retry-After` seconds.",
    504: "It took too long.", 507: "The disk of the server is full.",
}  # fmt: skip

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
            "schemas": {**definitions, "Problem": PROBLEM, "OpenAIError": OPENAI_ERROR},
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
    parameters = _path_parameters(operation.path) + _query_parameters(operation.query) + _headers(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        key = (id(operation.body), "validation")
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[key]}}}
    elif operation.consumes:
        content = {kind: {"schema": _body(operation, kind)} for kind in operation.consumes}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _body(operation: Operation, kind: str) -> dict[str, Any]:
    """The schema of a body that is read by the handler itself."""
    if kind == JSON:
        return {"type": "object"}
    if kind != "multipart/form-data":
        return BINARY
    needed = [name for name, schema in operation.form.items() if "default" not in schema]
    return {"type": "object", "required": needed, "properties": dict(operation.form)}


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, type_ in operation.returns.items():
        content: dict[str, Any] = {kind: {} for kind in operation.produces} if status == HTTPStatus.OK else {}
        if type_ is not None:
            content[JSON] = {"schema": schemas[id(type_), "serialization"]}
        found[str(status)] = {"description": HTTPStatus(status).phrase, **({"content": content} if content else {})}
    content_type, model = (JSON, "OpenAIError") if not operation.strict else (problem.CONTENT_TYPE, "Problem")
    refused = {"content": {content_type: {"schema": {"$ref": REF.format(model=model)}}}}
    found |= {str(status): {"description": MEANINGS[status], **refused} for status in _errors(operation)}
    return found


def _errors(operation: Operation) -> list[int]:
    """The statuses with which an operation may fail."""
    found = {*ALWAYS, *operation.errors}
    if operation.body is not None or operation.consumes:
        found |= {*WITH_BODY}
    if operation.strict:
        found.add(422)  # a query that nobody reads
    if operation.method != "GET":
        found.add(429)
    if "{" in operation.path:
        found.add(404)
    return sorted(found)


def _headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, **_described(schema)}
        for name, schema in operation.headers.items()
    ]


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
    needed = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, **_described(one)}
        for name, one in schema["properties"].items()
    ]


def _described(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, its description beside it."""
    bare = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return {"schema": bare, **({"description": schema["description"]} if "description" in schema else {})}
