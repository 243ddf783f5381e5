"""What all tests share: none of them touches the state of the person who runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty STEPGRAPH_HOME for the whole session, processes that tests start included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPGRAPH_HOME", str(tmp_path_factory.mktemp("home")))
        yield
