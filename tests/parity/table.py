"""The parity table: how far Stepgraph's workflows are from implementations that we did not write, row by row.

Each module of `tests/parity/rows` gives `ROWS`. The tests compute every row; `python -m tests.parity.table` writes the
table into docs/parity.md.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "parity.md"

PACKAGE = "tests.parity.rows"

LIBRARIES = ("torch", "diffusers", "transformers")

HEAD = """\
# Parity

How far Stepgraph's workflows are from implementations that we did not write. Each row runs a shipped workflow (or the
nodes it names) and the oracle on the same random weights, seeds and settings, and compares the final latents, element
by element: 0 is bit for bit. Both ran on a CPU in float32, with one thread, without Stepgraph's cache, with as many
pictures in a batch on either side. Where diffusers has no such pipeline, its modules and scheduler stand in a loop that
the test writes out; the row says so.

The models are `builtin:emoji` and those of `random:NAME` (`nodes/models/random_models.py`): the classes and settings of
their families, in small. The oracles are called as their documentation says; `tests/parity` holds all of it.

Made by `python -m tests.parity.table` with {versions}.
The test `tests/parity/test_table.py` computes every row anew, and fails where one is missing here or differs by more
than its tolerance.
"""

COLUMNS = ("model", "scheduler", "case", "compared with", "max abs difference")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        workflow: A shipped workflow, or the nodes that are compared.
        family: The random model, such as `sd15`.
        scheduler: Name in `make_schedule`.
        case: What is special: `batch of 4`, `24x40 latents`, `clip_skip 1`.
        oracle: What it is compared with, such as `StableDiffusionPipeline`.
        difference: Computes the largest absolute difference of the final latents.
        tolerance: What the tests accept; 0 is bit for bit.
        why: Why the tolerance is more than 0.
    """

    workflow: str
    family: str
    scheduler: str
    case: str
    oracle: str
    difference: Callable[[], float]
    tolerance: float = 0.0
    why: str = ""

    @property
    def name(self) -> str:
        return "-".join((self.workflow, self.family, self.scheduler, self.case)).replace(" ", "_")

    @property
    def cells(self) -> tuple[str, ...]:
        """What the page says of it, but for the workflow and the figure."""
        return self.family, self.scheduler, f"{self.case} ({self.why})" if self.why else self.case, self.oracle


def modules() -> list[str]:
    """The modules with rows, by name."""
    package = importlib.import_module(PACKAGE)
    return sorted(item.name for item in pkgutil.iter_modules(package.__path__))


def rows_of(module: str) -> list[Row]:
    """The rows of one module.

    Raises:
        ImportError: it cannot be imported or has none; the message names it.
    """
    try:
        return list(importlib.import_module(f"{PACKAGE}.{module}").ROWS)
    except Exception as error:
        raise ImportError(f"tests/parity/rows/{module}.py gives no rows: {type(error).__name__}: {error}") from error


def rows() -> list[Row]:
    """All rows, in the order of the modules' names."""
    return [row for module in modules() for row in rows_of(module)]


def page(figures: Iterable[tuple[Row, float]]) -> str:
    """The text of docs/parity.md."""
    versions = ", ".join(f"{name} {metadata.version(name).partition('+')[0]}" for name in LIBRARIES)
    lines = HEAD.format(versions=versions).splitlines()
    ordered = sorted(figures, key=lambda pair: pair[0].workflow)
    lines += _summary(ordered)
    for workflow, group in itertools.groupby(ordered, key=lambda pair: pair[0].workflow):
        lines += ["", f"## {workflow}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
        lines += [_line((*row.cells, say(figure))) for row, figure in group]
    return "\n".join(lines) + "\n"


def say(figure: float) -> str:
    """A difference as the page has it: `0`, or two digits."""
    return "0" if figure == 0 else f"{figure:.1e}"


def read(text: str) -> Mapping[tuple[str, ...], float]:
    """The rows of the page: workflow and cells, to the figure.

    Raises:
        ValueError: a row stands there twice.
    """
    found: dict[tuple[str, ...], float] = {}
    for workflow, cells in _table_lines(text):
        if (key := (workflow, *cells[:-1])) in found:
            raise ValueError(f"docs/parity.md has {key} twice")
        found[key] = float(cells[-1])
    return found


def _table_lines(text: str) -> Iterator[tuple[str, list[str]]]:
    workflow = ""
    for line in text.splitlines():
        if line.startswith("## "):
            workflow = line.removeprefix("## ")
        elif line.startswith("| "):
            cells = [cell.strip().replace("\\|", "|") for cell in line.strip("| ").split(" | ")]
            if tuple(cells) != COLUMNS and set(cells) != {"---"}:
                yield workflow, cells


def _summary(figures: Sequence[tuple[Row, float]]) -> list[str]:
    exact = sum(figure == 0 for _, figure in figures)
    rest = max((figure for _, figure in figures), default=0.0)
    others = "" if exact == len(figures) else f" The largest difference of the others is {say(rest)}."
    return ["", f"**{len(figures)} comparisons, {exact} of them bit for bit equal.**{others}"]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Compute every row and write the page; each row is printed as it comes."""
    import torch

    torch.set_num_threads(1)
    figures = []
    for row in rows():
        figures.append((row, row.difference()))
        print(f"{say(figures[-1][1]):>8}  {row.name}", flush=True)
    PAGE.write_text(page(figures), encoding="utf-8")
    over = [row.name for row, figure in figures if not figure <= row.tolerance]
    sys.exit(f"over their tolerance: {', '.join(over)}" if over else 0)


if __name__ == "__main__":
    # By its public name: the modules of rows import it so, and their `Row` is to be this one.
    importlib.import_module("tests.parity.table").main()
