"""The editor as it is shipped: one page and its assets, read into memory once.

What a request names is looked up among what was read, and never on the disk: no address leads out of the folder.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aiohttp import web

from server.http import reference
from server.http.catalog import Document

FOLDER = Path(__file__).parent.parent / "editor" / "dist"
"""What `npm run build` makes in `server/editor`; it comes with the package."""

FOREVER = "public, max-age=31536000, immutable"
"""The name of an asset holds the digest of its content."""

MEDIA_TYPES: Mapping[str, str] = {
    ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".md": "text/plain",
    ".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".woff2": "font/woff2",
}  # fmt: skip
"""Of assets, by suffix; browsers run no script of another type."""

TEXTS = ("text/javascript", "text/css", "image/svg+xml", "application/json", "text/plain")
"""Types that packing makes smaller."""


@dataclass(frozen=True)
class Asset:
    """A file of the editor."""

    plain: bytes
    media_type: str

    @classmethod
    def read(cls, path: Path) -> Asset:
        return cls(path.read_bytes(), MEDIA_TYPES.get(path.suffix, "application/octet-stream"))

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.plain, 9, mtime=0)

    def response(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": self.media_type, "Cache-Control": FOREVER}
        if self.media_type not in TEXTS:
            return web.Response(body=self.plain, headers=headers)
        headers["Vary"] = "Accept-Encoding"
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=self.plain, headers=headers)
        return web.Response(body=self.packed, headers={**headers, "Content-Encoding": "gzip"})


class Editor:
    """Responsibilities: hold the built editor, and serve it.

    Args:
        folder: Where the build lies; without one, the page says how to make it.
    """

    def __init__(self, folder: Path) -> None:
        index, assets = folder / "index.html", folder / "assets"
        built = index.is_file()
        self._page = Document.page(index.read_text(encoding="utf-8") if built else reference.without_editor())
        files = sorted(path for path in assets.rglob("*") if path.is_file()) if built else []
        self._assets = {path.relative_to(assets).as_posix(): Asset.read(path) for path in files}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self._index), web.get("/assets/{name:.+}", self._asset)]

    async def _index(self, request: web.Request) -> web.Response:
        return self._page.response(request)

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return asset.response(request)
