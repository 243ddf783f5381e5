"""The parity table: how far Stepgraph's workflows are from implementations that we did not write, row by row.

Each module of `tests/parity/rows` gives `ROWS`. The tests compute every row; `python -m tests.parity.table` writes the
table into docs/parity.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "parity.md"


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
    """

    workflow: str
    family: str
    scheduler: str
    case: str
    oracle: str
    difference: Callable[[], float]
    tolerance: float = 0.0

    @property
    def name(self) -> str:
        return "-".join((self.workflow, self.family, self.scheduler, self.case)).replace(" ", "_")


def rows() -> list[Row]:
    """All rows, in the order of the modules' names."""
    found: list[Row] = []
    package = importlib.import_module("tests.parity.rows")
    for module in sorted(item.name for item in pkgutil.iter_modules(package.__path__)):
        found += importlib.import_module(f"tests.parity.rows.{module}").ROWS
    return found
