"""Versions of workflows in conditional requests, as RFC 9110 has them: one tag, a list, or any."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.http.house import Answer, ask
from tests.server.http.inside import listening

PATH = "/api/v1/workflows/mine"
OTHER = '"00000000000000000000000000000000"'


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(tmp_path_factory.mktemp("tags") / "data") as address:
        yield address + PATH


@pytest.fixture
def version(url: str) -> str:
    """The tag of the file as it is before the test."""
    made = ask(url, b"{}", method="PUT")
    return (made if made.status == 201 else ask(url)).headers["ETag"]


def put(url: str, match: str) -> Answer:
    return ask(url, b"{}", method="PUT", headers={"If-Match": match})


@pytest.mark.parametrize("form", ["{}", " {} ", "W/{}", "{}, {other}", "{other}, {}", "{other} ,{other},W/{}", "*"])
def test_a_version_that_is_named_is_there(url: str, version: str, form: str) -> None:
    match = form.format(version, other=OTHER)
    assert put(url, match).status == 200
    assert ask(url, method="DELETE", headers={"If-Match": match}).status == 204


@pytest.mark.parametrize("form", ["{other}", "{other}, {other}", 'W/{other}, "x,y"'])
def test_no_version_that_is_named_is_there(url: str, version: str, form: str) -> None:
    match = form.format(other=OTHER)
    assert put(url, match).status == 412
    assert ask(url, method="DELETE", headers={"If-Match": match}).status == 412
    assert ask(url).headers["ETag"] == version


@pytest.mark.parametrize("match", ["", "nothing", '"', "{unquoted}"])
def test_what_names_no_version_changes_nothing(url: str, version: str, match: str) -> None:
    refused = put(url, match.replace("{unquoted}", version.strip('"')))
    assert (refused.status, "If-Match" in refused.json["detail"]) == (400, True)
    assert ask(url, method="DELETE", headers={"If-Match": match}).status == 400
    assert ask(url).headers["ETag"] == version


def test_no_version_is_there(url: str) -> None:
    gone = url.replace("mine", "gone")
    assert [put(gone, match).status for match in (OTHER, "*", f"{OTHER}, {OTHER}")] == [412, 412, 412]
    assert ask(gone, method="DELETE", headers={"If-Match": "*"}).status == 404


@pytest.mark.parametrize(("form", "status"), [("{}", 304), ("W/{}", 304), ("{other}, {}", 304), ("*", 304),
                                              ("{other}", 200), ("", 200), ("nothing", 200)])  # fmt: skip
def test_what_the_client_has_is_not_sent_again(url: str, version: str, form: str, status: int) -> None:
    read = ask(url, headers={"If-None-Match": form.format(version, other=OTHER)})
    assert (read.status, read.headers["ETag"]) == (status, version)
