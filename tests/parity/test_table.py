"""Every row of the parity table is computed anew, and docs/parity.md says what is computed."""

from __future__ import annotations

import math

import pytest

from tests.parity import table
from tests.parity.table import Row

LOOSELY = 100
"""How many times another computer's difference may be larger or smaller, where there is one: the last bits of float32
hang on how its libraries add up."""


def readable_rows() -> list[Row]:
    """Of all modules that can be read: what is wrong with another one is a test of its own."""
    found = []
    for module in table.modules():
        try:
            found += table.rows_of(module)
        except ImportError:
            continue
    return found


ROWS = readable_rows()


@pytest.fixture(scope="module")
def page() -> dict[tuple[str, ...], float]:
    return dict(table.read(table.PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", table.modules())
def test_every_module_gives_rows(module: str) -> None:
    assert table.rows_of(module)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_difference(row: Row, page: dict[tuple[str, ...], float]) -> None:
    difference = row.difference()
    assert difference <= row.tolerance
    printed = page.get((row.workflow, *row.cells))
    assert printed is not None, "docs/parity.md lacks this row: run `python -m tests.parity.table`"
    if row.tolerance == 0:
        assert printed == difference == 0
    elif printed and difference:
        assert abs(math.log(printed / difference)) < math.log(LOOSELY)
    assert printed <= row.tolerance


def test_the_page_lists_the_rows_that_there_are_and_no_others(page: dict[tuple[str, ...], float]) -> None:
    assert set(page) == {(row.workflow, *row.cells) for row in table.rows()}


def test_no_row_is_there_twice() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


def test_every_tolerance_is_explained_and_small() -> None:
    assert all(row.why for row in ROWS if row.tolerance)
    assert all(row.tolerance <= 1e-3 for row in ROWS)


def test_the_page_reads_back_as_it_was_written() -> None:
    rows = [
        Row("b", "sd15", "ddim", "a | b", "P", lambda: 0.0),
        Row("a", "sdxl", "euler", "batch of 4", "P", lambda: 0.0, 1e-4, "another order of sums"),
    ]
    text = table.page([(rows[0], 0.0), (rows[1], 0.0000234)])
    assert "2 comparisons, 1 of them bit for bit" in text
    assert table.read(text) == {
        ("a", "sdxl", "euler", "batch of 4 (another order of sums)", "P"): 2.3e-5,
        ("b", "sd15", "ddim", "a | b", "P"): 0.0,
    }


def test_a_module_that_fails_is_named() -> None:
    with pytest.raises(ImportError, match=r"tests/parity/rows/no_such_rows\.py gives no rows: ModuleNotFoundError"):
        table.rows_of("no_such_rows")
