"""Versions of what a request is about, as HTTP tells them: entity tags (RFC 9110, sections 8.8.3 and 13.1).

Weak tags count as strong ones: a proxy that packs answers weakens tags, and a version is the digest of the content, so
that it is the same one either way.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from server.http.problem import HttpError

ANY = "*"

IF_MATCH = {
    "If-Match": {
        "type": "string",
        "description": "The version that was read, as its `ETag` said it; several with commas between; `*` for any.",
    }
}
IF_NONE_MATCH = {
    "If-None-Match": {
        "type": "string",
        "description": "The `ETag` of what the client has (or several): if one is still right, the answer is 304.",
    }
}


def tag(version: str) -> str:
    """A version as `ETag` says it."""
    return f'"{version}"'


def wanted(request: web.Request) -> list[str] | None:
    """The versions of `If-Match`, one of which has to be there (`*`: whatever is there); None without this header.

    Raises:
        HttpError: it holds none.
    """
    if "If-Match" not in request.headers:
        return None
    versions = [one.value for one in request.if_match or ()]
    if not versions:
        said = request.headers["If-Match"][:100]
        raise HttpError(HTTPStatus.BAD_REQUEST, f"If-Match is {said!r}; it takes versions in quotes, or `*`")
    return versions


def known(request: web.Request, version: str) -> bool:
    """Whether the client has this version, as its `If-None-Match` says."""
    return any(one.value in (ANY, version) for one in request.if_none_match or ())
