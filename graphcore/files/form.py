"""Mistakes of form in a JSON document: wrong kinds, unknown and missing keys, names that are none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from graphcore.errors import Problem
from graphcore.files.described import show
from graphcore.files.places import JsonPath
from graphcore.files.source import Source
from graphcore.files.suggest import Suggester, listing
from graphcore.files.workflow import MISSING

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


class FormReader:
    """Base of what reads a file. Responsibilities: say what is wrong, once, with its place.

    MISSING stands in the document where something was reported already (NaN); it passes everywhere.
    """

    def __init__(self, file: Source, problems: list[Problem], suggester: Suggester) -> None:
        self.file, self.problems, self.suggester = file, problems, suggester
        self._strange: set[str] = set()

    def wrong(self, code: str, message: str, at: JsonPath, *, key: bool = False, **more: str) -> None:
        node, port = where(at)
        self.problems.append(self.file.problem(code, message, at, key=key, node=node, port=port, **more))

    def kind(self, value: Any, kind: type, at: JsonPath, words: str, fix: str = "") -> bool:
        """Whether a value is of the JSON kind that stands here; says so if not."""
        if type(value) is kind:
            return True
        if value is not MISSING:
            self.wrong("kind", f"wants {words}, got {show(value)}", at, expected=words, got=show(value), fix=fix)
        return False

    def keys(self, given: Mapping[str, Any], at: JsonPath, known: Collection[str], required: Collection[str]) -> None:
        unknown = [key for key in given if key not in known]
        for key in unknown:
            fix = self.suggester.near_or_list(key, sorted(known), "known here")
            if "inputs" in known and at and not self.suggester.near(key, known):
                fix = f"known here: {listing(sorted(known))}; the ports of a node stand under `inputs`"
            self.wrong("unknown-key", f"unknown key {show(key)}", (*at, key), key=True, got=key, fix=fix)
        for key in required:
            if key not in given and not any(self.suggester.near(other, [key]) for other in unknown):
                self.wrong("missing-key", f"the key `{key}` is missing", at, key=bool(at), expected=key)

    def object(self, given: Mapping[str, Any], key: str, at: JsonPath) -> dict[str, Any]:
        """The object under a key; an empty one where there is none."""
        value = given.get(key, {})
        if type(value) is dict:
            return value
        self.kind(value, dict, (*at, key), "an object {...}")
        return {}

    def text(self, given: Mapping[str, Any], key: str, at: JsonPath) -> str:
        value = given.get(key, "")
        return value if type(value) is str or self.kind(value, str, (*at, key), "text") else ""

    def flag(self, given: Mapping[str, Any], key: str, at: JsonPath) -> bool:
        value = given.get(key, False)
        return self.kind(value, bool, (*at, key), "true or false") and value is True

    def name(self, name: str, at: JsonPath, what: str) -> None:
        if NAME.match(name):
            return
        self._strange.add(name)
        fix = f"call it `{fixed}`" if (fixed := re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")) else ""
        message = f"{show(name)} cannot name {what}: a letter or _ first, then letters, digits, _ and -"
        self.wrong("name", message, at, key=True, got=name[:80], fix=fix if NAME.match(fixed) else "")


_PORTS = frozenset({"inputs", "each", "carry", "collect", "cases", "outputs"})


def where(at: JsonPath) -> tuple[str, str]:
    """Node path and port of a place in a file: `denoise.step` and `latents`."""
    names: list[str] = []
    port = ""
    index = 0
    while index < len(at):
        step = at[index]
        if step == "nodes" and index + 1 < len(at):
            names.append(str(at[index + 1]))
            port = ""
        elif step in _PORTS and index + 1 < len(at):
            port = str(at[index + 1])
        elif step not in ("body", "nodes"):
            if not port and names and index == len(at) - 1:
                port = str(step)
            break
        else:
            index += 1
            continue
        index += 2
    return ".".join(names), port
