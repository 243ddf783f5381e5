"""Files over HTTP: uploads that are looked at before they are kept, and downloads by id."""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web
from pydantic import BaseModel

from server.files.store import MEDIA_TYPES, Incoming, Stored
from server.http import tags
from server.http.operation import Operations, Reply, arriving
from server.http.problem import HttpError
from server.http.services import SERVICES, Services

operations = Operations("files")

ID = "{id:[0-9a-f]{32}}"
FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
"""Pictures that are kept, as Pillow calls them."""

CHUNK = 1 << 16
MOST_HEADER = 64 << 20
"""Bytes of the header of a safetensors file."""


class FileView(BaseModel):
    """A stored file."""

    id: str
    name: str
    media_type: str
    bytes: int
    width: int | None = None
    height: int | None = None


@operations.add(
    "POST", "/api/v1/uploads", {201: FileView},
    consumes=("multipart/form-data", "image/png", "image/jpeg", "image/webp", "application/octet-stream"),
    form={"file": {"type": "string", "format": "binary"}},
)  # fmt: skip
async def upload(request: web.Request) -> Reply:
    """Keep a picture (PNG, JPEG, WebP), a mask or a safetensors file: as the body, or as the part `file` of a form.

    What it is, its content says, not its name. The same file is kept once. Give `file:ID` as the value of an input.
    """
    services = request.app[SERVICES]
    stored, size = await receive(services, request)
    view = FileView(
        id=stored.id, name=stored.name, media_type=stored.media_type, bytes=stored.bytes,
        width=size and size[0], height=size and size[1],
    )  # fmt: skip
    return Reply(view, HTTPStatus.CREATED, {"Location": f"/api/v1/files/{stored.id}"})


async def receive(services: Services, request: web.Request) -> tuple[Stored, tuple[int, int] | None]:
    """The file that a request brings, kept; of a picture also width and height.

    Raises:
        HttpError: it is too large, too slow, or nothing that is kept.
    """
    async with arriving(request):
        chunks = await _form_chunks(request) if request.content_type == "multipart/form-data" else _chunks(request)
        return await keep(services, chunks)


async def keep(services: Services, chunks: AsyncIterator[bytes]) -> tuple[Stored, tuple[int, int] | None]:
    """Write chunks aside, look at what they are, and keep them."""
    limits = services.settings.limits
    with Incoming(services.files, ".png", limits.upload_bytes) as incoming:
        async for chunk in chunks:
            await services.run(incoming.write, chunk)
        suffix, size = await services.run(_look, incoming, limits.upload_pixels)
        incoming.suffix = suffix
        return await services.run(incoming.keep), size


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(CHUNK):
        yield chunk


async def _form_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The part `file` of a form (aiohttp's own limit does not count parts: `Incoming` does)."""
    with whole_form():
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                return part_chunks(part)
    raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "the form has no part `file`")


async def part_chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    """What a part of a form holds, piece by piece.

    Raises:
        HttpError: the form is damaged.
    """
    with whole_form():
        while chunk := await part.read_chunk(CHUNK):
            yield chunk


@contextmanager
def whole_form() -> Iterator[None]:
    """Within, a form is read; what aiohttp says of a damaged one becomes an answer.

    Raises:
        HttpError: the form is damaged.
    """
    try:
        yield
    except (ValueError, AssertionError, LookupError) as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "this is no form, or a damaged one") from error


def _look(incoming: Incoming, most_pixels: int) -> tuple[str, tuple[int, int] | None]:
    """What a received file is: its suffix, and the size of a picture.

    Raises:
        HttpError: nothing that is kept, damaged, or a picture that unpacks to too much.
    """
    from PIL import Image  # not before somebody uploads something, so that the server starts at once

    path = incoming.flush()
    with path.open("rb") as file:
        start = file.read(16)
    if _is_safetensors(path, start):
        return ".safetensors", None
    try:
        return _picture(path, most_pixels)
    except Image.DecompressionBombError as error:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a picture of more than {most_pixels} pixels") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        message = "only pictures (PNG, JPEG, WebP) and safetensors files are kept, and this is none, or damaged"
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message) from error


def _picture(path: Path, most_pixels: int) -> tuple[str, tuple[int, int]]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=tuple(FORMATS)) as picture:
            width, height = picture.size
            if width * height > most_pixels or getattr(picture, "n_frames", 1) > 1:
                raise HttpError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"one picture of at most {most_pixels} pixels is kept, this has {width} x {height}",
                )
            picture.verify()
            return FORMATS[str(picture.format)], (width, height)


def _is_safetensors(path: Path, start: bytes) -> bool:
    """Whether a file has the header of safetensors, and its size is the one that the header tells."""
    size, length = path.stat().st_size, int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or length > min(size - 8, MOST_HEADER):
        return False
    try:
        with path.open("rb") as file:
            file.seek(8)
            header = json.load(io.BytesIO(file.read(length)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return size == 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError):
        return False


@operations.add("GET", f"/api/v1/files/{ID}", {200: None}, produces=tuple(sorted({*MEDIA_TYPES.values()})))
async def get_file(request: web.Request) -> web.StreamResponse:
    """A file by its id."""
    return send(request.app[SERVICES], request, request.match_info["id"])


def send(
    services: Services, request: web.Request, id_: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """The response with a file; it never changes, as its id is its content."""
    stored = services.files.get(id_)
    fixed: dict[str, Any] = {
        "Content-Type": stored.media_type,
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": tags.tag(stored.id),
        "Content-Disposition": f'inline; filename="{stored.name}"',
    }
    return web.FileResponse(stored.path, headers={**fixed, **(headers or {})})
