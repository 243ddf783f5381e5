"""What can be put into a workflow: nodes, the types of their ports, plugins, models."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web
from blake3 import blake3
from pydantic import BaseModel

from graphcore.declare import description, schema
from graphcore.declare.registry import Registry
from server.http import tags
from server.http.operation import JSON, Operations
from server.http.services import SERVICES, Services

operations = Operations("catalog")


@dataclass(frozen=True, slots=True)
class Document:
    """A text that is sent often: packed and numbered once."""

    plain: bytes
    packed: bytes
    version: str
    media_type: str = JSON

    @classmethod
    def of(cls, value: Any) -> Document:
        """A value as JSON."""
        return cls._of(json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str), JSON)

    @classmethod
    def page(cls, text: str) -> Document:
        """A text that is HTML."""
        return cls._of(text, "text/html")

    @classmethod
    def _of(cls, text: str, media_type: str) -> Document:
        plain = text.encode()
        return cls(plain, gzip.compress(plain, 6, mtime=0), blake3(plain).hexdigest(16), media_type)

    def response(self, request: web.Request) -> web.Response:
        """The document, or word that the client has it already."""
        headers = {"ETag": tags.tag(self.version), "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if tags.known(request, self.version):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=self.packed, content_type=self.media_type, headers=headers)
        return web.Response(body=self.plain, content_type=self.media_type, headers=headers)


class PluginView(BaseModel):
    """A plugin, and what went wrong with it."""

    name: str
    nodes: list[str]
    error: str | None


class PluginList(BaseModel):
    plugins: list[PluginView]


class ModelView(BaseModel):
    """A model that `load_model` can be given."""

    path: str
    title: str


class ModelList(BaseModel):
    models: list[ModelView]


class Catalog:
    """Responsibilities: the documents about the node types, made anew when a plugin changes them."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._documents: dict[str, Document] = {}

    def document(self, name: str, registry: Registry) -> Document:
        if registry is not self._registry:
            self._documents, self._registry = {}, registry
        if name not in self._documents:
            self._documents[name] = Document.of(_MAKERS[name](registry))
        return self._documents[name]


def _nodes(registry: Registry) -> dict[str, Any]:
    return {"nodes": [description.describe(node) for node in registry]}


def _types(registry: Registry) -> dict[str, Any]:
    """Every type of a port: what it is, who makes it, who takes it."""
    found: dict[str, dict[str, Any]] = {}

    def note(side: str, node: Mapping[str, Any]) -> None:
        for port in node["inputs" if side == "taken_by" else "outputs"].values():
            entry = found.setdefault(port["type"], {"doc": "", "made_by": [], "taken_by": []})
            if node["short_name"] not in entry[side]:
                entry[side].append(node["short_name"])

    for node in registry:
        described = description.describe(node)
        note("taken_by", described)
        note("made_by", described)
    for name, kind in registry.types.items():
        if (short := name.rpartition(".")[2]) in found:
            found[short]["doc"] = (kind.__doc__ or "").strip().partition("\n")[0]
    return {"types": dict(sorted(found.items()))}


_MAKERS = {"nodes": _nodes, "types": _types, "schema": schema.workflow_schema}

CATALOG = web.AppKey("catalog", Catalog)


async def _send(request: web.Request, name: str) -> web.Response:
    services = request.app[SERVICES]
    document: Document = await services.run(request.app[CATALOG].document, name, services.plugins.registry)
    return document.response(request)


@operations.add("GET", "/api/v1/nodes", {200: dict[str, Any], 304: None}, headers=tags.IF_NONE_MATCH)
async def list_nodes(request: web.Request) -> web.Response:
    """All node types with ports, defaults, bounds and documentation."""
    return await _send(request, "nodes")


@operations.add("GET", "/api/v1/types", {200: dict[str, Any], 304: None}, headers=tags.IF_NONE_MATCH)
async def list_types(request: web.Request) -> web.Response:
    """All types of ports: what they are, which nodes make them, which take them."""
    return await _send(request, "types")


@operations.add("GET", "/api/v1/schema", {200: dict[str, Any], 304: None}, headers=tags.IF_NONE_MATCH)
async def workflow_schema(request: web.Request) -> web.Response:
    """The JSON Schema of workflow files for the nodes at hand."""
    return await _send(request, "schema")


@operations.add("GET", "/api/v1/plugins", {200: PluginList})
async def list_plugins(request: web.Request) -> PluginList:
    """The plugins and what went wrong with them."""
    states = request.app[SERVICES].plugins.states
    return PluginList(
        plugins=[PluginView(name=one.name, nodes=list(one.nodes), error=one.error or None) for one in states]
    )


@operations.add("GET", "/api/v1/models", {200: ModelList})
async def list_models(request: web.Request) -> ModelList:
    """The models in the server's folder, as `load_model` takes them."""
    services = request.app[SERVICES]
    found: ModelList = await services.run(_models, services)
    return found


def _models(services: Services) -> ModelList:
    folder = services.folders.models
    listed = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path / "model_index.json").is_file() or path.suffix == ".safetensors":
            listed.append(ModelView(path=path.name, title=path.stem))
    return ModelList(models=listed)
