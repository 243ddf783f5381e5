"""The canonical text says the same as the document, whatever order its keys came in."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore.files import canonical

NAMES = st.text(min_size=1, max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.dictionaries(st.sampled_from([*canonical.NODE, *canonical.INPUT, "other"]) | NAMES, JSON, max_size=6)
DOCUMENTS = st.dictionaries(
    st.sampled_from(canonical.FILE) | NAMES, JSON | st.dictionaries(NAMES, ENTRIES, max_size=3), max_size=6
)


@given(DOCUMENTS)
@settings(deadline=None)
def test_the_text_reads_back_as_the_document_and_is_its_own_canonical_text(document):
    text = canonical.text(document)
    assert json.loads(text) == document
    assert canonical.text(json.loads(text)) == text


def test_keys_of_files_inputs_nodes_and_bodies_have_one_order():
    document = {
        "outputs": {"x": {"from": "loop.x"}},
        "nodes": {
            "loop": {
                "body": {
                    "carry": {"x": {"from": "b"}},
                    "nodes": {
                        "b": {"inputs": {"z": 1}, "mute": True, "type": "b"},
                        "a": {"bypass": True, "note": "n", "type": "a"},
                    },
                },
                "times": 3,
                "type": "loop",
            }
        },
        "inputs": {"b": {"maximum": 3, "default": 1, "type": "integer"}, "a": {"type": "any"}},
        "stepgraph": 1,
    }
    assert canonical.text(document) == (
        "{\n"
        '  "stepgraph": 1,\n'
        '  "inputs": {\n'
        '    "b": {"type": "integer", "default": 1, "maximum": 3},\n'
        '    "a": {"type": "any"}\n'
        "  },\n"
        '  "nodes": {\n'
        '    "loop": {\n'
        '      "type": "loop",\n'
        '      "times": 3,\n'
        '      "body": {\n'
        '        "nodes": {\n'
        '          "b": {"type": "b", "mute": true, "inputs": {"z": 1}},\n'
        '          "a": {"type": "a", "note": "n", "bypass": true}\n'
        "        },\n"
        '        "carry": {"x": {"from": "b"}}\n'
        "      }\n"
        "    }\n"
        "  },\n"
        '  "outputs": {\n'
        '    "x": {"from": "loop.x"}\n'
        "  }\n"
        "}\n"
    )


def test_lines_are_broken_where_they_would_be_too_long():
    nodes = {"node": {"type": "t", "inputs": {f"port_{k}": {"from": f"node_{k}.output"} for k in range(20)}}}
    assert max(map(len, canonical.text({"stepgraph": 1, "nodes": nodes}).splitlines())) <= canonical.WIDTH
