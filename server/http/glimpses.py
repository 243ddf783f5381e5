"""Which steps of a run are worth a look, so that few partial pictures tell how the picture comes about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from graphcore.declare.registry import Registry

_ITERATION = re.compile(r"\[(\d+)\]")


class Glimpses:
    """Responsibilities: choose iterations of a loop, spread over it, and name the values that they ended with.

    The steps of a picture are the iterations of a loop, whatever its nodes are called. The last iteration is left out:
    it is the picture itself.

    Args:
        most: How many iterations to choose.
        registry: Tells the types of values of which there are small pictures.
    """

    def __init__(self, most: int, registry: Registry) -> None:
        self._most, self._registry = most, registry
        kinds = [
            list(node.outputs.values()) for node in registry if node.preview is not None and node.single
        ]  # what a worker can draw
        self._kinds = {ports[0].type for ports in kinds}
        self._chosen: dict[str, list[int]] = {}
        self._keys: dict[tuple[str, int], list[str]] = {}

    def hear(self, name: str, data: Mapping[str, Any]) -> list[str]:
        """Take an event of a run; returns keys of values to look at now (the first of which there is a picture)."""
        node = str(data.get("node", ""))
        if name == "expanded":
            self._chosen.setdefault(node, spread(int(data.get("total", 0)), self._most))
        if name not in ("finished", "cached"):
            return []
        over = [place for place in self._keys if not node.startswith(f"{place[0]}[{place[1]}]")]
        for match in _ITERATION.finditer(node):
            place = (node[: match.start()], int(match[1]))
            if place[1] in self._chosen.get(place[0], ()) and self._drawable(str(data.get("type", ""))):
                self._keys.setdefault(place, []).insert(0, str(data["key"]))
        found = [key for place in over for key in self._keys.pop(place)]
        for loop, number in over:
            self._chosen[loop] = [one for one in self._chosen[loop] if one != number]
        return found

    def _drawable(self, type_: str) -> bool:
        node = self._registry.find(type_)
        return node is not None and any(port.type in self._kinds for port in node.outputs.values())


def spread(total: int, most: int) -> list[int]:
    """Numbers of at most `most` of `total` iterations, evenly spread, without the last one."""
    chosen = {-(-k * total // (most + 1)) - 1 for k in range(1, most + 1)}
    return sorted(number for number in chosen if 0 <= number < total - 1)
