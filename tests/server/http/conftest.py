"""One server for all tests that leave it as it was: its worker imports torch and draws its first picture only once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server import ticks
from tests.server.http.house import Running, serve


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve(ticks.make(tmp_path_factory.mktemp("server") / "data").data) as running:
        yield running
