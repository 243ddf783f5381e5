"""The OpenAPI document as a page for people: plain HTML without scripts and without anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from server.http.operation import JSON

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: #666; --link: #0a58ca; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; --link: #7fb2ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
a { color: var(--link); }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
code, pre { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: 0.75rem; border-radius: 0.4rem; white-space: pre-wrap; }
details { border: 1px solid var(--line); border-radius: 0.4rem; margin: 0.5rem 0; }
details > :not(summary) { margin-left: 1rem; margin-right: 1rem; }
summary { padding: 0.5rem 1rem; cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
summary span { color: var(--quiet); }
table { border-collapse: collapse; width: calc(100% - 2rem); }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.75rem 0.3rem 0; text-align: left; }
td { vertical-align: top; }
.quiet { color: var(--quiet); }
"""

NO_EDITOR = """<p>This is Stepgraph's server, in a checkout whose editor is not built. With Node at hand, build it:</p>
<pre>npm --prefix server/editor ci
npm --prefix server/editor run build</pre>
<p>Then start the server again. Without an editor, too, there is <a href="/api/docs">all that the API offers</a>.</p>"""


def without_editor() -> str:
    """What a browser sees at `/` where the editor is not built."""
    return _page("Stepgraph", NO_EDITOR)


def page(document: Mapping[str, Any]) -> str:
    """The whole reference of an OpenAPI document that `server.http.openapi` made."""
    info = document["info"]
    parts = [
        f"<p>{_text(info['description'])} Version {escape(info['version'])}; the same for programs: "
        '<a href="/api/openapi.json">openapi.json</a>. Errors come as <code>application/problem+json</code>.</p>'
    ]
    operations = [(method, path, one) for path, methods in document["paths"].items() for method, one in methods.items()]
    tags = list(dict.fromkeys(one["tags"][0] for _, _, one in operations))
    parts.append("<p>" + " · ".join(f'<a href="#tag-{tag}">{tag}</a>' for tag in (*tags, "schemas")) + "</p>")
    for tag in tags:
        parts.append(f'<h2 id="tag-{tag}">{tag}</h2>')
        parts += [_operation(*one) for one in operations if one[2]["tags"][0] == tag]
    parts.append('<h2 id="tag-schemas">schemas</h2>')
    schemas = document["components"]["schemas"]
    parts += [_schema(name, schemas[name]) for name in sorted(schemas)]
    return _page(f"{info['title']} API", "\n".join(parts))


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _operation(method: str, path: str, one: Mapping[str, Any]) -> str:
    head = f"<b>{method.upper()}</b> <code>{escape(path)}</code> <span>{_text(one['summary'])}</span>"
    parts = [f'<details id="{escape(one["operationId"])}"><summary>{head}</summary>']
    parts += [f"<p>{_text(paragraph)}</p>" for paragraph in one.get("description", "").split("\n\n") if paragraph]
    if parameters := one.get("parameters"):
        rows = ([f"{p['name']} ({p['in']})", _type(p["schema"]), p.get("description", "")] for p in parameters)
        parts.append(_table(("parameter", "type", "meaning"), rows))
    if body := one.get("requestBody"):
        parts.append(f"<p>Body: {' or '.join(_content(body['content']))}</p>")
    answers = ([status, " or ".join(_content(a.get("content", {}))), a["description"]]
               for status, a in one["responses"].items())  # fmt: skip
    parts.append(_table(("status", "answer", "meaning"), answers))
    return "\n".join([*parts, "</details>"])


def _content(content: Mapping[str, Any]) -> Iterator[str]:
    """Each content type with the schema of what it holds."""
    for kind, described in content.items():
        schema = described.get("schema", {})
        shown = f" {_type(schema)}" if "json" in kind and schema else ""
        yield ("JSON" if kind == JSON else f"<code>{escape(kind)}</code>") + shown


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    parts = [f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>']
    if described := schema.get("description"):
        parts.append(f"<p>{_text(described)}</p>")
    if fields := schema.get("properties"):
        wanted = schema.get("required", ())
        rows = ([field + (" *" if field in wanted else ""), _type(one), _about(one)] for field, one in fields.items())
        parts.append(_table(("field (* always there)", "type", "meaning"), rows))
    else:
        parts.append(f"<p>{_type(schema)}</p>")
    return "\n".join([*parts, "</details>"])


def _about(schema: Mapping[str, Any]) -> str:
    """What a field means, within which bounds, and what it is if it is left out."""
    bounds = {"minimum": "at least", "maximum": "at most", "minLength": "at least", "maxLength": "at most"}
    said = [schema.get("description", "")]
    said += [f"{words} {schema[key]}" + (" characters" if "Length" in key else "")
             for key, words in bounds.items() if key in schema]  # fmt: skip
    if schema.get("default") not in (None, "", [], {}):
        said.append(f"default `{schema['default']}`")
    return "; ".join(part for part in said if part)


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(choice) for choice in choices)
    if "enum" in schema:
        return " or ".join(f"<code>{escape(repr(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if isinstance(more := schema.get("additionalProperties"), Mapping) and "properties" not in schema:
        return f"object of {_type(more)}"
    return escape(str(schema.get("type", "any value")))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose first and last columns are text, the middle ones HTML."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    lines = [f"<tr><td><code>{escape(first)}</code></td><td>{kind}</td><td>{_text(last)}</td></tr>"
             for first, kind, last in rows]  # fmt: skip
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _text(text: str) -> str:
    """Words of a docstring: `code` in backticks, all else as it is."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
