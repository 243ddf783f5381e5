"""In which order the nodes of a file or body depend on each other, and where they do so in a circle."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from graphcore.files.links import links, outer_values
from graphcore.files.workflow import Link, ListOf, Node, NodeCall


def needs(nodes: Mapping[str, Node], name: str) -> set[str]:
    """The neighbours whose values a node reads."""
    found = set()
    node = nodes[name]
    for value in node.inputs.values() if type(node) is NodeCall else outer_values(node):
        if type(value) is Link:
            if value.node in nodes:
                found.add(value.node)
        elif type(value) is ListOf:
            found.update(link.node for link in links(value) if link.node in nodes)
    return found


def order(nodes: Mapping[str, Node]) -> tuple[list[str], list[str]]:
    """Names so that each stands after what it needs, else as in the file; and the names that wait on a circle."""
    waiting: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for name in nodes:
        needed = needs(nodes, name)
        waiting[name] = len(needed)
        for other in needed:
            users.setdefault(other, []).append(name)
    ready = deque(name for name, count in waiting.items() if not count)
    done: list[str] = []
    while ready:
        name = ready.popleft()
        done.append(name)
        for user in users.get(name, ()):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return done, [name for name, count in waiting.items() if count]


def _around(graph: Any, first: str) -> list[str]:
    """The shortest way from a node of a strongly connected graph back to itself."""
    before = {first: ""}
    queue = deque([first])
    while queue:
        name = queue.popleft()
        for user in graph.successors(name):
            if user == first:
                way = [name]
                while before[way[-1]]:
                    way.append(before[way[-1]])
                return way[::-1]
            if user not in before:
                before[user] = name
                queue.append(user)
    return [first]


def circles(nodes: Mapping[str, Node], stuck: list[str]) -> list[list[str]]:
    """One shortest circle per group of nodes that need each other: each name feeds the next, the last the first."""
    import networkx  # slow to import, and seldom needed

    graph = networkx.DiGraph()
    graph.add_nodes_from(stuck)
    among = set(stuck)
    graph.add_edges_from((other, name) for name in stuck for other in sorted(needs(nodes, name) & among))
    rank = {name: index for index, name in enumerate(stuck)}
    found = []
    for group in networkx.strongly_connected_components(graph):
        first = min(group, key=rank.__getitem__)
        if len(group) > 1 or graph.has_edge(first, first):
            found.append(_around(graph.subgraph(group), first))
    return sorted(found, key=lambda circle: rank[circle[0]])
