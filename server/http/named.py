"""Pictures by the paths with which workflows name them: for fields that show them, and for masks painted on them."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from graphcore import StepgraphError
from graphcore.runtime import Runtime
from server.http.operation import Operations
from server.http.problem import HttpError
from server.http.services import SERVICES
from server.work.folders import Folders

operations = Operations("files")


class PictureQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=500, description="As a workflow names it, such as `example.png`.")


@operations.add(
    "GET", "/api/v1/pictures", {200: None}, query=PictureQuery,
    produces=("image/png", "image/jpeg", "image/webp"), errors=(404,),
)  # fmt: skip
async def get_picture(request: web.Request, query: PictureQuery) -> web.StreamResponse:
    """A picture file (PNG, JPEG, WebP) that runs may read, by the path that a workflow names it with.

    It is looked for where runs look for it: beside the workflows, among files, models and what is shipped.
    """
    services = request.app[SERVICES]
    found = await services.run(_find, services.folders, query.path)
    if found is None:
        raise HttpError(HTTPStatus.NOT_FOUND, f"runs may read no picture {query.path!r}")
    path, media_type = found
    return web.FileResponse(path, headers={"Content-Type": media_type, "Cache-Control": "private, no-cache"})


def _find(folders: Folders, name: str) -> tuple[Path, str] | None:
    """The real path of a picture and its media type."""
    try:
        path = Runtime(roots=folders.roots, base=folders.workflows).readable(name)
        with path.open("rb") as file:
            media_type = _media_type(file.read(12))
    except (StepgraphError, OSError, ValueError):  # outside, no file, or no name of one
        return None
    return None if media_type is None else (path, media_type)


def _media_type(start: bytes) -> str | None:
    """What a file is, by its first bytes; None for what browsers need not show."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/webp" if start[:4] == b"RIFF" and start[8:] == b"WEBP" else None
