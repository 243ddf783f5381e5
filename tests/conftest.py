"""What all tests share: none of them touches the state of the person who runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# The models of the tests are tiny: one thread each is quickest, and tests that run at the same time (`-n`) do not wait
# for each other's threads. Before torch is imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty STEPGRAPH_HOME for the whole session, processes that tests start included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPGRAPH_HOME", str(tmp_path_factory.mktemp("home")))
        yield
