"""`stepgraph serve`: run the server until somebody stops it."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

HELP = "serve the API and the editor"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve the API until Ctrl-C or SIGTERM; running jobs then go back to the queue, their finished steps kept. "
        "The address that is printed has a page about the API."
    )
    parser.add_argument("-h", "--help", action="help", help="show this help and leave")
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone); others need --token-file",
    )  # fmt: skip
    parser.add_argument("--port", type=_port, default=8188, help="0 takes a free one (default: 8188)")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=Path("stepgraph-data"),
        help="where queue, workflows, files, models and cache lie; made if it is not there (default: ./stepgraph-data)",
    )  # fmt: skip
    parser.add_argument(
        "--token-file", metavar="FILE", type=Path,
        help="a file whose first line is the token that clients must send, of at least 16 characters",
    )  # fmt: skip
    parser.add_argument(
        "--name", metavar="HOST", action="append", default=[],
        help="a host name by which clients call the server, besides its address; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--workers", metavar="N", type=_count, default=1, help="worker processes on each device (default: 1)"
    )
    parser.add_argument(
        "--device", metavar="DEVICE", action="append",
        help="auto, cpu, cuda:0, ...; may be repeated (default: auto, the GPU if there is one)",
    )  # fmt: skip
    parser.add_argument("--log-json", action="store_true", help="write each line of the log as a JSON object")
    parser.add_argument("--verbose", action="store_true", help="log every request (never what it holds)")


def main(options: argparse.Namespace) -> int:
    gc.disable()  # until the server is ready: nothing is garbage yet, and looking for it takes a tenth of the start
    try:
        return _serve(options)
    finally:
        gc.enable()


def _serve(options: argparse.Namespace) -> int:
    from server import running
    from server.settings import Settings

    devices = [device for device in options.device or ["auto"] for _ in range(options.workers)]
    settings = Settings(
        data=options.data.absolute(), host=options.host, port=options.port, token=_token(options.token_file),
        names=tuple(options.name), devices=tuple(devices), json_logs=options.log_json,
    )  # fmt: skip
    settings.check()
    return running.run(settings, verbose=options.verbose)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: 1 to 64")
    return int(text)


def _token(file: Path | None) -> str:
    """The token in a file: its first line.

    Raises:
        StepgraphError: the file cannot be read, or the token is too short to keep anybody out.
    """
    from graphcore import StepgraphError

    if file is None:
        return ""
    try:
        token = file.read_text(encoding="ascii").partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise StepgraphError(f"--token-file {file}: {error}") from error
    if len(token) < 16:
        raise StepgraphError(f"--token-file {file}: a token of {len(token)} characters; use at least 16")
    if file.stat().st_mode & 0o077 and sys.platform != "win32":
        print(f"warning: others on this machine can read {file}; `chmod 600` keeps the token yours", file=sys.stderr)
    return token
