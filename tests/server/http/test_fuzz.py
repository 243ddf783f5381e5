"""Whatever is sent, valid or not: no mistake of the server's own, and only answers that its document foretells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from server.http import openapi
from server.http.app import operations
from tests.server.http.house import Answer, ask
from tests.server.http.inside import listening
from tests.server.http.test_api import png

SCHEMA = schemathesis.openapi.from_dict(openapi.document(operations(), "0"))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.allow_header_conformance,
]

LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
"""What a server without workers says where a worker is needed."""


ENDLESS = ("GET /api/v1/jobs/{id}/events",)
"""Of a job that waits, its answer would too."""


@dataclass
class Target:
    """A server without workers, and things that are there: half of all requests ask for these."""

    url: str
    known: dict[str, list[str]]

    def ask(self, path: str, body: Any = None, **more: Any) -> Answer:
        return ask(self.url + path, body, **more)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    limits = {"requests_per_second": 1e9, "burst": 10**9, "sync_seconds": 0.02, "waiting_jobs": 10**6}
    with listening(tmp_path_factory.mktemp("fuzz") / "data", **limits) as url:
        made = Target(url, {"name": ["txt2img", "img2img", "mine"]})
        jobs = [made.ask("/api/v1/jobs", {"workflow": "txt2img"}).json["id"] for _ in range(3)]
        made.ask(f"/api/v1/jobs/{jobs[0]}", method="DELETE")
        kept = made.ask("/api/v1/uploads", png(), headers={"Content-Type": "image/png"}).json["id"]
        made.known |= {"id": [*jobs[:1], kept], "before": jobs}
        made.ask("/api/v1/workflows/mine", {"stepgraph": 1}, method="PUT")
        yield made


def attack(target: Target, label: str, examples: int, mode: schemathesis.GenerationMode) -> None:
    """Send made-up requests for one operation, and look at each answer."""

    @given(st.data())
    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None,
        derandomize=True, phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    def one(data: st.DataObject) -> None:
        case = data.draw(OPERATIONS[label].as_strategy(generation_mode=mode))
        for part in (case.path_parameters, case.query):
            for name in () if label in ENDLESS else sorted(set(part or {}) & set(target.known)):
                if data.draw(st.booleans()):
                    part[name] = data.draw(st.sampled_from(target.known[name]))
        if isinstance(case.body, dict) and case.body.get("stream") is True:
            case.body["stream"] = False  # for this answer, too, somebody would have to work
        answer = case.call(base_url=target.url, timeout=300)
        assert answer.status_code < 500 or answer.status_code in LATER, answer.content
        assert b"Traceback" not in answer.content
        case.validate_response(answer, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # nothing about this operation's requests can be wrong
        one()


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode, ids=lambda mode: mode.value)
def test_every_answer_is_foretold(target: Target, label: str, mode: schemathesis.GenerationMode) -> None:
    attack(target, label, 12, mode)


@pytest.mark.slow
@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode, ids=lambda mode: mode.value)
def test_every_answer_is_foretold_for_long(target: Target, label: str, mode: schemathesis.GenerationMode) -> None:
    attack(target, label, 200, mode)
