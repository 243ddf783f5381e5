"""Which code makes a node's values, as one digest: equal digest, equal code.

A node's digest covers, byte for byte (a comment counts too: nobody can tell by rule which bytes do not matter):

- the source of the module that defines the node, and of every module of the same package or plugin that this one
  imports, transitively (`graphcore.plugins.imports` says what counts as an import);
- modules of the built-in library, `nodes`, that a plugin imports;
- the versions of torch, diffusers and transformers.

Python's own version does not count: the source says what is computed, and what Python makes of it does not change
from one minor version to the next. Data files do not count either: a node that reads one names it in its
`fingerprint` hook.

The digest is that of the code *as loaded*: a file that is edited under a running process does not change the digest
of the module in memory. (A module that is imported later, inside a function, is taken as it lies there when the
digest is first asked for. Plugins are loaded from a snapshot of all their files, so for them this is exact.)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from graphcore.declare.node import NodeType
from graphcore.errors import StepgraphError
from graphcore.plugins import codeobjects, imports

LIBRARIES = ("torch", "diffusers", "transformers")
"""Distributions whose versions are part of every digest."""

BUILT_IN_PACKAGE = "nodes"
"""The built-in library: plugins may use its modules, so these count for them too."""


def node_digest(node_type: NodeType) -> str:
    """The digest of the code that makes the values of a node: its module, its function and its `batch` hook."""
    functions = [node_type.function] + ([node_type.batch.run] if node_type.batch else [])
    return code_digest(node_type.module, *functions)


def code_digest(module_name: str, *functions: Callable[..., Any]) -> str:
    """The digest of the code behind the nodes that a module defines: 64 hexadecimal digits.

    Args:
        module_name: The defining module (`function.__module__`).
        functions: The functions that make the value: the node's own and, where it has one, its `batch.run`. With
            them, what the source alone does not fix counts as well: values that a closure holds (a node made by a
            factory) and defaults. Where there is no source (a REPL, `exec`, a deleted file) their code objects
            count instead, with everything of the same module that they name; that digest differs between minor
            versions of Python, because bytecode does.

    Raises:
        StepgraphError: the module has no source, and no function is given.
    """
    covered = _module_digest(module_name)
    if covered is None and not functions:
        raise StepgraphError(f"module `{module_name}` has no source file; its code has a digest only by its functions")
    if covered is None:
        return _hash([_versions().encode(), *(codeobjects.describe(function).encode() for function in functions)])
    states = [state for function in functions if (state := codeobjects.state(function))]
    return _hash([covered.encode(), *(state.encode() for state in states)]) if states else covered


_digests: dict[str, tuple[object, str]] = {}
"""Digests of loaded modules, each with what identifies that loading."""


def _module_digest(name: str) -> str | None:
    identity = imports.identity(name)
    known = _digests.get(name)
    if known and identity is not None and known[0] is identity:
        return known[1]
    sources = _closure(name)
    if not sources:
        return None
    labelled = (part for label in sorted(sources) for part in (label.encode(), sources[label]))
    digest = _hash([_versions().encode(), *labelled])
    if identity is not None:
        _digests[name] = (identity, digest)
    return digest


def _closure(name: str) -> dict[str, bytes]:
    """The sources that count for a module, by a label that does not depend on when and where it was loaded."""
    own = imports.root(name)
    roots = {own, BUILT_IN_PACKAGE} if own.startswith(f"{imports.PLUGIN_PACKAGE}.") else {own}
    sources: dict[str, bytes] = {}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen or imports.root(current) not in roots:
            continue
        seen.add(current)
        if module := imports.read(current):
            sources[current.removeprefix(own) if imports.root(current) == own else current] = module.source
            waiting.extend(imports.imported(module, roots))
    return sources


def _hash(parts: Iterable[bytes]) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest()


@cache
def _versions() -> str:
    return " ".join(f"{name}={_version(name)}" for name in LIBRARIES)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"
