"""Pictures by the paths that workflows name them with: those that runs may read, and nothing else of the machine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from graphcore.files import shipped
from tests.server.http.house import Running


def picture(server: Running, path: str) -> bytes:
    found = server.ask(f"/api/v1/pictures?path={path}")
    assert found.status == 200, found.body
    return found.body


def test_a_shipped_picture_and_one_beside_the_workflows(server: Running) -> None:
    example = next(folder / "example.png" for folder in shipped.folders() if (folder / "example.png").is_file())
    assert picture(server, "example.png") == example.read_bytes()
    made = io.BytesIO()
    Image.new("RGB", (3, 2)).save(made, "WEBP")
    (server.data / "workflows" / "named.bin").write_bytes(made.getvalue())
    found = server.ask("/api/v1/pictures?path=named.bin")
    assert (found.body, found.headers["Content-Type"]) == (made.getvalue(), "image/webp")


@pytest.mark.parametrize("path", ["txt2img.json", "nothing.png", "../queue.sqlite", "%00", "a" * 490])
def test_what_is_no_picture_or_not_there(server: Running, path: str) -> None:
    assert server.ask(f"/api/v1/pictures?path={path}").status == 404


def test_pictures_elsewhere_stay_hidden(server: Running, tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    Image.new("RGB", (2, 2)).save(outside)
    link = server.data / "workflows" / "link.png"
    link.symlink_to(outside)
    try:
        assert server.ask(f"/api/v1/pictures?path={outside}").status == 404
        assert server.ask("/api/v1/pictures?path=link.png").status == 404
    finally:
        link.unlink()
