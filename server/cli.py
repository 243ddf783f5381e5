"""`stepgraph serve`: run the server until somebody stops it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "serve the API and the editor"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-h", "--help", action="help", help="show this help and leave")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=_port, default=8188, help="0 takes a free one (default: 8188)")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=Path("stepgraph-data"),
        help="where queue, workflows, files, models and cache lie (default: ./stepgraph-data)",
    )  # fmt: skip
    parser.add_argument("--token-file", metavar="FILE", type=Path, help="a file with the token that clients must know")
    parser.add_argument(
        "--name", metavar="HOST", action="append", default=[],
        help="a host name by which clients call the server, besides its address; may be repeated",
    )  # fmt: skip
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="worker processes on each device")
    parser.add_argument("--device", action="append", help="auto, cpu, cuda:0, ...; may be repeated (default: auto)")
    parser.add_argument("--log-json", action="store_true", help="write log lines as JSON")
    parser.add_argument("--verbose", action="store_true", help="log every request")


def main(options: argparse.Namespace) -> int:
    from server import running
    from server.settings import Settings

    if options.workers < 1:
        raise SystemExit("stepgraph serve: --workers must be at least 1")
    devices = [device for device in options.device or ["auto"] for _ in range(options.workers)]
    settings = Settings(
        data=options.data.absolute(), host=options.host, port=options.port, token=_token(options.token_file),
        names=tuple(options.name), devices=tuple(devices), json_logs=options.log_json,
    )  # fmt: skip
    settings.check()
    return running.run(settings, verbose=options.verbose)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return port


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
