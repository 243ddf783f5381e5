"""The OpenAPI document, and the page that is made of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import validate

from server.http import openapi, reference
from server.http.app import operations

DOCUMENT = openapi.document(operations(), "0")
PAGES = {"reference": reference.page(DOCUMENT), "no editor": reference.without_editor()}


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_every_operation_is_told_once() -> None:
    names = [one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names)) == len(operations())


def test_every_operation_says_what_it_does_and_how_it_fails() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            assert one["summary"], (method, path)
            assert "default" not in one["responses"]
            assert ("404" in one["responses"]) or ("{" not in path)
            assert ("requestBody" in one) <= ("413" in one["responses"])


class Reader(HTMLParser):
    """Reads a page: tags that are open, ids, and what it refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), "the policy runs no scripts of the page"
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_needs_nothing_else(name: str) -> None:
    reader = Reader()
    reader.feed(PAGES[name])
    assert reader.open == []
    assert not reader.tags & {"script", "link", "img", "iframe"}
    assert "url(" not in PAGES[name]
    assert len(reader.ids) == len(set(reader.ids))
    for link in reader.links:
        assert link.startswith(("/", "#")), link
        assert not link.startswith("#") or link[1:] in reader.ids, link
    assert "color-scheme: light dark" in PAGES[name]


def test_the_reference_tells_of_every_operation_and_schema() -> None:
    for operation in operations():
        assert f'id="{operation.name}"' in PAGES["reference"]
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="schema-{name}"' in PAGES["reference"]
    assert not re.search(r"<td></td><td></td>", PAGES["reference"])


def test_words_of_docstrings_cannot_become_markup() -> None:
    document = {**DOCUMENT, "info": {"title": "<b>", "version": "<i>", "description": "<script>`<x>`</script>"}}
    page = reference.page(document)
    assert "<script>" not in page
    assert "<x>" not in page
    assert "<title>&lt;b&gt; API</title>" in page
