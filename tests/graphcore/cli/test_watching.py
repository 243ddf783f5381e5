"""`--watch`: whether a run that was cancelled is to be run again."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import pytest

from graphcore.cli import watching
from graphcore.errors import Cancelled


class Ended:
    """A session whose run is cancelled while it runs, by Ctrl-C or by a save."""

    def __init__(self, interrupted: bool) -> None:
        self.interrupted = interrupted

    def run(self) -> None:
        raise Cancelled


def saves(*names: str) -> Queue[set[Path]]:
    made: Queue[set[Path]] = Queue()
    for name in names:
        made.put({Path(name)})
    return made


@pytest.mark.parametrize("changes", [(), ("saved.json",)])
def test_ctrl_c_ends_though_a_file_is_saved_at_the_same_time(changes: tuple[str, ...]) -> None:
    with pytest.raises(Cancelled):
        watching._attempt(Ended(True), saves(*changes), first=False, traceback=False)  # type: ignore[arg-type]


def test_a_save_alone_lets_it_go_on() -> None:
    watching._attempt(Ended(False), saves("saved.json"), first=False, traceback=False)  # type: ignore[arg-type]
