"""A model hub on this machine: what huggingface_hub asks of the real one, for one repository, from a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def served(repo: str, folder: Path, asked: list[str]) -> Iterator[str]:
    """Serve a folder as `repo`; yields the address for `HF_ENDPOINT`.

    Args:
        asked: Every path that was asked for is added to it.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(f"{self.command} {path}")
            if path.startswith(f"/api/models/{repo}/tree/"):
                return self.send(json.dumps(tree(folder)).encode(), "application/json", body)
            if path.startswith(f"/api/models/{repo}"):
                return self.send(json.dumps(info(repo, folder)).encode(), "application/json", body)
            if path.startswith(f"/{repo}/resolve/"):
                file = folder / path.split("/resolve/")[1].partition("/")[2]
                if file.is_file():
                    return self.send(file.read_bytes(), "application/octet-stream", body)
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if repo in path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, data: bytes, kind: str, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def info(repo: str, folder: Path) -> dict[str, object]:
    siblings = [{"rfilename": str(f.relative_to(folder)), "size": f.stat().st_size} for f in files(folder)]
    return {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}


def tree(folder: Path) -> list[dict[str, object]]:
    return [
        {
            "type": "file",
            "path": str(file.relative_to(folder)),
            "size": file.stat().st_size,
            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
        }
        for file in files(folder)
    ]
