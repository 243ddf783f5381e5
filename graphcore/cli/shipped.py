"""The workflow that a person means: a path, or the bare name of one that comes with Stepgraph."""

from __future__ import annotations

from pathlib import Path

from graphcore.cli.failure import UsageError
from graphcore.errors import did_you_mean
from graphcore.files.shipped import folders


def workflows() -> dict[str, Path]:
    """Path by bare name, sorted; the first folder wins."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in folder.glob("*.json"):
            if not path.name.endswith(".schema.json"):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """The file of a path or bare name.

    Raises:
        UsageError: there is neither; says what is near.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.name != name or path.suffix:
        raise UsageError(f"there is no file {name!r}" + _near(path))
    known = workflows()
    if name in known:
        return known[name]
    local = path.with_suffix(".json")
    if local.is_file():
        raise UsageError(f"no shipped workflow is called {name!r}; for the file, write ./{local}")
    fix = did_you_mean(name, known) or "`stepgraph workflows` lists them"
    raise UsageError(f"no shipped workflow is called {name!r}; {fix}")


def _near(path: Path) -> str:
    """What is near a path that does not exist."""
    if path.is_dir():
        return "; it is a folder"
    if not path.parent.is_dir():
        return f"; there is no folder {str(path.parent)!r}"
    if path.stem in workflows():
        return f"; the shipped workflow is called `{path.stem}`"
    suggestion = did_you_mean(path.name, [other.name for other in path.parent.glob("*.json")])
    return f"; {suggestion}" if suggestion else ""
