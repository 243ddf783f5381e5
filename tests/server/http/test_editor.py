"""The editor as the server sends it: packed once, kept by browsers, without a token, and nothing besides it."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from server.http import editor
from server.http.editor import FOLDER
from tests.server.http.house import ask
from tests.server.http.inside import listening

SCRIPT = b"export const answer = 42;\n" * 100
TOKEN = "a token of more than sixteen letters"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build, with a secret beside it."""
    folder = tmp_path_factory.mktemp("editor") / "dist"
    (folder / "assets" / "parts").mkdir(parents=True)
    (folder / "index.html").write_text('<!doctype html><script type="module" src="/assets/index-1a2b.js"></script>')
    (folder / "assets" / "index-1a2b.js").write_bytes(SCRIPT)
    (folder / "assets" / "parts" / "icon-3c.png").write_bytes(b"\x89PNG")
    (folder.parent / "secret.js").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def url(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with that editor, which wants a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editor, "FOLDER", built)
        with listening(tmp_path_factory.mktemp("editor") / "data", token=TOKEN) as address:
            yield address


def status(url: str, path: str, **headers: str) -> int:
    """Of a request with exactly this path."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_page_is_asked_for_anew_each_time(url: str, built: Path) -> None:
    page = ask(f"{url}/")
    assert (page.status, page.body) == (200, (built / "index.html").read_bytes())
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Cache-Control"] == "no-cache"
    again = ask(f"{url}/", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert "unsafe" not in page.headers["Content-Security-Policy"].replace("style-src 'self' 'unsafe-inline'", "")


def test_assets_are_kept_for_ever(url: str) -> None:
    plain = ask(f"{url}/assets/index-1a2b.js")
    assert (plain.status, plain.body) == (200, SCRIPT)
    assert plain.headers["Content-Type"].startswith("text/javascript")
    assert plain.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    packed = ask(f"{url}/assets/index-1a2b.js", headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == SCRIPT
    assert len(packed.body) < len(SCRIPT) / 10
    picture = ask(f"{url}/assets/parts/icon-3c.png", headers={"Accept-Encoding": "gzip"})
    assert (picture.body, picture.headers["Content-Type"]) == (b"\x89PNG", "image/png")
    assert "Content-Encoding" not in picture.headers
    assert ask(f"{url}/assets/index-1a2b.js", method="HEAD").status == 200


@pytest.mark.parametrize("name", [
    "../index.html", "../../secret.js", "..%2f..%2fsecret.js", "%2e%2e/%2e%2e/secret.js", "/etc/passwd",
    "parts", "parts/../index-1a2b.js", "index-1a2b.js%00", "", ".",
])  # fmt: skip
def test_only_what_was_built_is_there(url: str, name: str) -> None:
    assert status(url, f"/assets/{name}") == 404


def test_all_else_wants_the_token(url: str) -> None:
    for path in ("/", "/assets/index-1a2b.js", "/api/docs", "/api/v1/health"):
        assert status(url, path) == 200, path
    for path in ("/api/v1/workflows", "/api/openapi.json", "/metrics", "/v1/models", "/assets", "/index.html"):
        assert status(url, path) == 401, path
    for path in ("/assets/../api/v1/jobs", "/assets/%2e%2e/api/v1/jobs", "/assets//api/v1/jobs"):
        assert status(url, path) == 404, path
    for path in ("/assets%2f../api/v1/jobs", "//api/v1/jobs"):
        assert status(url, path) in (401, 404), path
    assert ask(f"{url}/assets/index-1a2b.js", b"", method="POST").status == 405


def test_pages_of_other_sites_get_no_assets(url: str) -> None:
    path = "/assets/index-1a2b.js"
    assert status(url, path, Sec_Fetch_Site="same-origin", Sec_Fetch_Dest="script", Origin=url) == 200
    assert status(url, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script") == 403
    assert status(url, path, Origin="https://evil.example") == 403
    visit = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert status(url, "/", **visit) == 200
    assert status(url, path, **visit) == 403


def test_without_a_build_the_page_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(editor, "FOLDER", tmp_path / "nowhere")
    with listening(tmp_path / "data") as url:
        page = ask(f"{url}/")
        assert b"npm --prefix server/editor run build" in page.body
        assert ask(f"{url}/assets/index.js").status == 404


def test_the_shipped_build_is_whole() -> None:
    """Whatever the page names is among the assets, and browsers run it."""
    assert (FOLDER / "index.html").is_file(), "the build belongs into the repository: npm run build in server/editor"
    shipped = editor.Editor(FOLDER)
    named = [word for word in (FOLDER / "index.html").read_text().split('"') if word.startswith("/")]
    assert any(word.endswith(".js") for word in named)
    for word in named:
        assert word.startswith(("/assets/", "/api/docs")), word
        assert not word.startswith("/assets/") or word.removeprefix("/assets/") in shipped._assets
    for name, asset in shipped._assets.items():
        assert asset.media_type != "application/octet-stream", name
