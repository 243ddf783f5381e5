"""What strangers try: each is turned away, says why, and leaves the server as it was."""

from __future__ import annotations

import http.client
import io
import json
import socket
import struct
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from graphcore import StepgraphError
from server.settings import Settings
from tests.server.http.house import Running, ask, serve
from tests.server.http.inside import listening

TOKEN = "a token of more than sixteen letters"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that wants a token."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "token").chmod(0o600)
    with serve(folder / "data", "--token-file", str(folder / "token"), ready=False) as running:
        yield running


def raw(server: Running, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """A request with exactly these headers."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": address.netloc, "Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8188", "127.0.0.1.evil.example", "", "[", "192.0.2.7"])
def test_a_rebound_name_is_not_answered(server: Running, host: str) -> None:
    for path in ("/api/v1/jobs", "/api/v1/health", "/nowhere"):
        assert raw(server, "GET", path, {"Host": host})[0] == 421
    assert raw(server, "GET", "/api/v1/ws", {"Host": host, **UPGRADE})[0] == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://", "http://[", ""])
def test_pages_of_other_sites_may_do_nothing(server: Running, origin: str) -> None:
    job = json.dumps({"workflow": "txt2img"}).encode()
    headers = {"Origin": origin, "Content-Type": "application/json"}
    assert raw(server, "POST", "/api/v1/jobs", headers, job)[0] == 403
    assert raw(server, "GET", "/api/v1/ws", {"Origin": origin, **UPGRADE})[0] == 403


def test_our_own_page_may(server: Running) -> None:
    assert raw(server, "GET", "/api/v1/health", {"Origin": server.url, "Sec-Fetch-Site": "same-origin"})[0] == 200
    assert raw(server, "GET", "/api/v1/health", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert raw(server, "GET", "/api/v1/ws", {"Sec-Fetch-Site": "cross-site", **UPGRADE})[0] == 403


def test_links_of_other_sites_lead_to_pages_alone(server: Running) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path, status in (("/", 200), ("/api/docs", 200), ("/api/v1/jobs", 403), ("/api/openapi.json", 403)):
        assert raw(server, "GET", path, link)[0] == status
    for framed in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}, {"Origin": "https://evil.example"}):
        assert raw(server, "GET", "/api/docs", {**link, **framed})[0] == 403
    assert raw(server, "POST", "/", link)[0] == 403


def test_forms_of_other_sites_need_no_preflight_and_are_refused(server: Running) -> None:
    job = json.dumps({"workflow": "txt2img"}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert raw(server, "POST", "/api/v1/jobs", {"Content-Type": kind}, job)[0] == 415


def test_without_the_token_nothing_is_told(guarded: Running) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "x=y"}):
        answer = guarded.ask("/api/v1/jobs", headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert guarded.ask(f"/api/v1/jobs?token={TOKEN.replace(' ', '%20')}").status == 401
    assert guarded.ask("/metrics").status == guarded.ask("/api/openapi.json").status == 401
    assert raw(guarded, "GET", "/api/v1/ws", UPGRADE)[0] == 401
    assert guarded.ask("/api/v1/health").status == 200


def test_with_the_token_all_is(guarded: Running) -> None:
    assert guarded.ask("/api/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert guarded.ask("/api/v1/login", {"token": "no"}).status == 401
    cookie = guarded.ask("/api/v1/login", {"token": TOKEN}).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    refused = guarded.ask("/v1/models", headers={"Authorization": "Bearer no"})
    assert refused.json["error"]["code"] == "unauthorized"


def test_an_open_address_needs_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "some.name"):
        with pytest.raises(StepgraphError, match="token"):
            Settings(tmp_path, host=host).check()
        Settings(tmp_path, host=host, token=TOKEN).check()
    for host in ("127.0.0.1", "::1", "localhost"):
        Settings(tmp_path, host=host).check()


SECRETS = ["../queue.sqlite", "..%2fqueue.sqlite", "%2e%2e/%2e%2e/etc/passwd", "....//", "a/../../b", "%00", "x.json"]


@pytest.mark.parametrize("name", SECRETS)
def test_no_path_leads_out(server: Running, name: str) -> None:
    for route in ("files", "workflows", "values", "jobs"):
        status, body = raw(server, "GET", f"/api/v1/{route}/{name}", {})
        assert status in (400, 404), (route, status)
        assert b"SQLite" not in body
    assert server.ask("/api/v1/jobs", {"workflow": name}).status == 404


def test_workflows_read_only_what_the_server_keeps(server: Running, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"stepgraph": 1, "nodes": {}, "outputs": {}}')
    for path in (str(tmp_path / "secret.json"), "../../secret.json", "/etc/passwd"):
        node = {"type": "workflow", "path": path}
        sent = {"stepgraph": 1, "nodes": {"n": node}, "outputs": {"x": {"from": "n.x"}}}
        assert server.ask("/api/v1/jobs", {"workflow": sent}).status == 422
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    nodes = {"p": {"type": "load_image", "inputs": {"path": str(tmp_path / "secret.png")}}}
    sent = {"stepgraph": 1, "nodes": nodes, "outputs": {"image": {"from": "p"}}}
    job = server.ask("/api/v1/jobs", {"workflow": sent}).json["id"]
    ended = server.ended(job)
    assert ended["state"] == "failed"
    assert "outside the folders" in ended["error"]["message"]
    (server.data / "files" / ("c" * 32 + ".png")).symlink_to(tmp_path / "secret.png")
    assert server.ask("/api/v1/files/" + "c" * 32).status == 404


def test_no_request_makes_the_server_fetch_a_model(server: Running) -> None:
    body = {"workflow": "txt2img", "inputs": {"model": "some-owner/some-model"}}
    found = server.ask("/api/v1/check", body).json["problems"]
    assert "hf download some-owner/some-model" in found[0]["text"]
    job = server.ended(server.ask("/api/v1/jobs", body).json["id"])
    assert job["state"] == "failed"
    assert "hf download some-owner/some-model" in job["error"]["message"]
    assert str(Path.home()) not in json.dumps(job)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb() -> bytes:
    """A small file that unpacks to 50,000 x 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    """A picture whose header says that it has 65,000 x 65,000 pixels."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


BAD_FILES = {
    "png bomb": (png_bomb(), 413),
    "jpeg bomb": (jpeg_bomb(), 413),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415),
    "pickle": (
        b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04e",
        415,
    ),
    "zip": (b"PK\x03\x04" + b"\0" * 100, 415),
    "empty": (b"", 415),
    "lying header": ((10**12).to_bytes(8, "little") + b'{"x":1}', 415),
    "deep header": ((100_002).to_bytes(8, "little") + b"{" + b"[" * 100_000 + b"}", 415),
    "broken png": (b"\x89PNG\r\n\x1a\n" + b"x" * 50, 415),
    "gif": (b"GIF89a" + b"\0" * 9, 415),
    "html": (b"<html><script>1</script>", 415),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_only_what_its_content_says_is_kept(server: Running, name: str) -> None:
    body, status = BAD_FILES[name]
    server.idle()
    before = sorted((server.data / "files").iterdir())
    answer = server.ask("/api/v1/uploads", body, headers={"Content-Type": "image/png"})
    assert answer.status == status
    assert sorted((server.data / "files").iterdir()) == before


def test_too_much_is_refused_while_it_comes(server: Running) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    large = head + b"\x89PNG" + b"x" * (66 << 20) + b"\r\n--x--\r\n"
    assert sent(server, "/api/v1/uploads", "multipart/form-data; boundary=x", large) in (413, 0)
    assert sent(server, "/api/v1/jobs", "application/json", b"[" + b"1," * (5 << 20) + b"1]") in (413, 0)
    assert server.ask("/api/v1/health").status == 200
    server.idle()
    assert not list((server.data / "files").glob(".*"))


def sent(server: Running, path: str, kind: str, body: bytes) -> int:
    """The status of a large request; 0 where the server closed the connection before all was sent."""
    try:
        return raw(server, "POST", path, {"Content-Type": kind}, body)[0]
    except (ConnectionError, http.client.HTTPException):
        return 0


@pytest.mark.parametrize("depth", [200, 10_000, 100_000])
def test_deep_json_is_refused(server: Running, depth: int) -> None:
    for body in (b"[" * depth + b"]" * depth, b'{"workflow":' * depth + b"1" + b"}" * depth):
        assert server.ask("/api/v1/jobs", body).status == 422
    deep = b'{"workflow": ' + b'{"nodes":' * depth + b"1" + b"}" * depth + b"}"
    assert server.ask("/api/v1/jobs", deep).status == 422
    assert server.ask("/api/v1/workflows/deep", b"[" * depth + b"]" * depth, method="PUT").status == 201
    assert server.ask("/api/v1/workflows").status == 200
    assert server.ask("/api/v1/jobs", {"workflow": "deep"}).status == 422
    assert server.ask("/api/v1/workflows/deep", method="DELETE").status == 204


def test_a_body_that_never_comes_holds_nobody_up(server: Running) -> None:
    address = urlsplit(server.url)
    slow = []
    for _ in range(20):
        opened = socket.create_connection((address.hostname or "", address.port or 0))
        opened.sendall(
            f"POST /api/v1/jobs HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
            "Content-Length: 1000\r\n\r\n{".encode()
        )
        slow.append(opened)
    time.sleep(0.2)
    assert server.ask("/api/v1/health").status == 200
    for opened in slow:
        opened.close()


def test_headers_that_protect_the_browser(server: Running) -> None:
    for path in ("/api/v1/health", "/nowhere", "/api/openapi.json"):
        headers = server.ask(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_a_flood_is_slowed_down(tmp_path: Path) -> None:
    with listening(tmp_path / "data", requests_per_second=0.001, burst=20) as url:
        answers = [ask(f"{url}/api/v1/check", {"workflow": "nobody"}) for _ in range(30)]
        assert [answer.status for answer in answers] == [404] * 20 + [429] * 10
        assert answers[-1].headers["Retry-After"]
        assert ask(f"{url}/api/v1/health").status == 200


def test_messages_tell_no_places_of_the_machine(server: Running) -> None:
    typo = {"stepgraph": 1, "nodes": {"m": {"type": "load_modell"}}, "outputs": {"x": {"from": "m.unet"}}}
    (server.data / "plugins" / "broken_one.py").write_text("import nothing_of_this_name\n")
    answers = [
        server.ask("/api/v1/jobs", {"workflow": "txt2img", "inputs": {"steps": 0}}),
        server.ask("/api/v1/check", {"workflow": "txt2img", "inputs": {"steps": 0}}),
        server.ask("/api/v1/check", {"workflow": typo}),
        server.ask("/api/v1/explain", {"workflow": typo}),
        server.ask("/v1/images/generations", {"prompt": "x", "steps": 0}),
        server.ask("/api/v1/workflows/txt2img/run", {"inputs": {"model": "../outside"}}),
    ]
    server.until(lambda: any(one["error"] for one in server.ask("/api/v1/plugins").json["plugins"]))
    answers.append(server.ask("/api/v1/plugins"))
    (server.data / "plugins" / "broken_one.py").unlink()
    for answer in answers:
        for place in (server.data, Path(__file__).parents[3], Path(sys.prefix)):
            assert str(place).encode() not in answer.body
    assert "txt2img.json:" in answers[0].json["detail"]


def test_methods_that_an_address_does_not_have(server: Running) -> None:
    refused = server.ask("/api/v1/jobs", method="PATCH")
    assert (refused.status, refused.json["status"]) == (405, 405)
    assert set(refused.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}
    told = server.ask("/api/v1/jobs", method="OPTIONS")
    assert (told.status, told.headers["Allow"], told.body) == (204, refused.headers["Allow"], b"")
    head, whole = server.ask("/api/v1/nodes", method="HEAD"), server.ask("/api/v1/nodes")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", whole.headers["ETag"])


def test_a_query_that_nobody_reads_is_refused(server: Running) -> None:
    for path in (
        "/api/v1/health?x=1",
        "/api/v1/jobs?stat=queued",
        "/api/v1/jobs?limit=x",
        "/api/v1/jobs?limit=1&limit=2",
    ):
        assert server.ask(path).status == 422, path


BAD_FORMS = {
    "no boundary": ("multipart/form-data", b"x"),
    "another boundary": ("multipart/form-data; boundary=q", b"--r\r\n\r\nx\r\n--r--\r\n"),
    "no header": ("multipart/form-data; boundary=q", b"--q\r\n\r\nx\r\n--q--\r\n"),
    "no end": ("multipart/form-data; boundary=q", b'--q\r\nContent-Disposition: form-data; name="file"\r\n\r\nx'),
    "nested": ("multipart/form-data; boundary=q", b"--q\r\nContent-Type: multipart/mixed\r\n\r\nx\r\n--q--\r\n"),
    "packed part": (
        "multipart/form-data; boundary=q",
        b'--q\r\nContent-Disposition: form-data; name="file"\r\nContent-Encoding: gzip\r\n\r\nx\r\n--q--\r\n',
    ),
    "odd transfer": (
        "multipart/form-data; boundary=q",
        b'--q\r\nContent-Disposition: form-data; name="image"\r\nContent-Transfer-Encoding: odd\r\n\r\nx\r\n--q--\r\n',
    ),
    "empty": ("multipart/form-data; boundary=q", b""),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_damaged_forms_are_refused(server: Running, name: str) -> None:
    kind, body = BAD_FORMS[name]
    for path in ("/api/v1/uploads", "/v1/images/edits"):
        assert raw(server, "POST", path, {"Content-Type": kind}, body)[0] in (400, 415, 422), path
    server.idle()
    assert not list((server.data / "files").glob(".*"))


def test_packed_bodies_are_refused(server: Running) -> None:
    bomb = zlib.compress(b" " * (64 << 20), 9)
    for path, kind in (("/api/v1/jobs", "application/json"), ("/api/v1/uploads", "image/png")):
        for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
            headers = {"Content-Type": kind, "Content-Encoding": encoding}
            assert raw(server, "POST", path, headers, bomb)[0] == 415


def test_chunked_bodies_are_counted_too(server: Running) -> None:
    address = urlsplit(server.url)
    for pieces, status in (([b'{"workflow": ', b'"nobody"}'], 404), ([b" " * (1 << 20)] * 6, 413), ([b"{"], 422)):
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/api/v1/jobs", iter(pieces), headers, encode_chunked=True)
            assert connection.getresponse().status == status
        except (BrokenPipeError, ConnectionResetError):
            assert status == 413
        finally:
            connection.close()


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/uploads", "/v1/images/edits", "/api/v1/workflows/slow"])
def test_a_slow_body_is_not_waited_for(tmp_path: Path, path: str) -> None:
    form = "/uploads" in path or "/edits" in path
    kind = "multipart/form-data; boundary=q" if form else "application/json"
    begin = b'--q\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx' if form else b"{"
    method = "PUT" if "workflows" in path else "POST"
    with listening(tmp_path / "data", body_seconds=0.3) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as opened:
            head = f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {kind}\r\nContent-Length: 999"
            opened.sendall(head.encode() + b"\r\n\r\n" + begin)
            assert opened.recv(100).startswith(b"HTTP/1.1 408")
    assert not list((tmp_path / "data" / "files").iterdir())
