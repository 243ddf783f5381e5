"""One server for all tests of a module that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.http.house import Running, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve(tmp_path_factory.mktemp("server") / "data") as running:
        yield running
