"""What all tests share: none of them touches the state of the person who runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A busy machine must not fail a test: no example has to be quick, and the same ones are tried each time. Others are by
# `--hypothesis-profile=default`.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

# The models of the tests are tiny: one thread each is quickest, and tests that run at the same time (`-n`) do not wait
# for each other's threads. Before torch is imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty STEPGRAPH_HOME for the whole session, processes that tests start included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPGRAPH_HOME", str(tmp_path_factory.mktemp("home")))
        yield
