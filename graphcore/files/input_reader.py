"""The `inputs` of a workflow file: descriptions such as `{"type": "integer", "default": 20, "minimum": 1}`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from graphcore.files import described
from graphcore.files.described import show
from graphcore.files.form import FormReader
from graphcore.files.places import JsonPath
from graphcore.files.workflow import MISSING, WorkflowInput

_KEYS = frozenset({"type", "default", "description", "minimum", "maximum", "enum", "items"})


class InputReader(FormReader):
    """Reads the descriptions of a workflow's inputs."""

    def input(self, name: str, raw: Any) -> WorkflowInput:
        at: JsonPath = ("inputs", name)
        self.name(name, at, "an input")
        if not self.kind(raw, dict, at, "an object {...}", fix='write {"type": "string"}, say'):
            return WorkflowInput(name, "any", MISSING if raw is MISSING else None)
        self.keys(raw, at, _KEYS, ("type",))
        kind, items = self.type(raw, "type", at), self.type(raw, "items", at)
        if "items" in raw and kind not in ("array", "any"):
            self.wrong("input", f"`items` is for arrays, not for a {kind}", (*at, "items"), key=True)
        bounds = {key: self.bound(raw, key, kind, at) for key in ("minimum", "maximum")}
        low, high = bounds["minimum"], bounds["maximum"]
        if low is not None and high is not None and low > high:
            self.wrong("input", f"the minimum {low:g} is above the maximum {high:g}", (*at, "minimum"))
        found = WorkflowInput(name, kind, MISSING, self.text(raw, "description", at), low, high, None, items)
        found = dataclasses.replace(found, enum=self.enum(raw, found, at))
        if raw.get("default", MISSING) is not MISSING and (refused := described.refusal(found, raw["default"])):
            expected, got = refused
            message = f"the default is not what the input takes: wants {expected}, got {got}"
            self.wrong("input", message, (*at, "default"), expected=expected, got=got)
        return dataclasses.replace(found, default=raw.get("default", MISSING))

    def type(self, raw: Mapping[str, Any], key: str, at: JsonPath) -> str:
        kind = raw.get(key, "any")
        if type(kind) is str and kind in described.TYPES:
            return kind
        if kind is not MISSING:
            near = self.suggester.near(kind, described.TYPES) if type(kind) is str else ""
            words = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "list": "array"}
            if type(kind) is str and kind.lower() in words:
                near = f"did you mean `{words[kind.lower()]}`?"
            message = f"{show(kind)} is no type of an input"
            expected = "one of " + ", ".join(described.TYPES)
            self.wrong("input", message, (*at, key), expected=expected, got=show(kind), fix=near or expected)
        return "any"

    def bound(self, raw: Mapping[str, Any], key: str, kind: str, at: JsonPath) -> float | None:
        value = raw.get(key)
        if key not in raw or value is MISSING:
            return None
        if kind not in ("integer", "number", "any"):
            self.wrong("input", f"`{key}` is for numbers, not for {kind} inputs", (*at, key), key=True)
        elif refused := described.refusal(WorkflowInput(key, "number"), value):
            self.wrong("input", f"wants a number, got {refused[1]}", (*at, key), expected=refused[0], got=refused[1])
        else:
            assert isinstance(value, (int, float))
            return value
        return None

    def enum(self, raw: Mapping[str, Any], found: WorkflowInput, at: JsonPath) -> tuple[Any, ...] | None:
        values = raw.get("enum", MISSING)
        if values is MISSING or not self.kind(values, list, (*at, "enum"), "a list of allowed values"):
            return None
        if not values:
            self.wrong("input", "an empty `enum` allows no value at all", (*at, "enum"))
            return None
        for index, value in enumerate(values):
            if value is not MISSING and (refused := described.refusal(found, value)):
                message = f"wants {refused[0]}, got {refused[1]}"
                self.wrong("input", message, (*at, "enum", index), expected=refused[0], got=refused[1])
        return None if MISSING in values else tuple(values)
