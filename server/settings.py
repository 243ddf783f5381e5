"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from graphcore import StepgraphError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one request, and one client, may ask for.

    Args:
        json_bytes: Of a JSON body.
        upload_bytes: Of an uploaded file.
        upload_pixels: Of an uploaded picture, after decompression.
        requests_per_second, burst: Of each client, for requests that change or compute something.
        waiting_jobs: In the queue.
        listeners: Open event streams and WebSockets.
        body_seconds: For a request body to arrive.
        sync_seconds: That a synchronous run may keep its request waiting.
        explained_iterations: Of all loops of a workflow that is to be explained; each is held in memory.
    """

    json_bytes: int = 4 * MIB
    upload_bytes: int = 64 * MIB
    upload_pixels: int = 64 * 1024 * 1024
    requests_per_second: float = 50.0
    burst: int = 200
    waiting_jobs: int = 10_000
    listeners: int = 4_096
    body_seconds: float = 60.0
    sync_seconds: float = 120.0
    explained_iterations: int = 20_000


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays of the past. Jobs that wait or run stay always, and files as long as a job or a workflow names them.

    Args:
        jobs: That ended; of more the oldest leave.
        days: How long a job stays that ended, and a file that nothing names.
        every_seconds: How often the server looks.
    """

    jobs: int = 10_000
    days: float = 90.0
    every_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What `stepgraph serve` was told.

    Args:
        data: The folder in which all lies that the server keeps.
        host: Address to listen on; one beyond loopback needs a token.
        port: 0 takes a free one.
        token: The secret that clients must know; empty for none.
        names: Host names by which the server may be called, besides loopback and `host`.
        devices: One worker for each.
        json_logs: Log lines as JSON.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8188
    token: str = ""
    names: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("auto",)
    json_logs: bool = False
    limits: Limits = field(default_factory=Limits)
    keep: Keep = field(default_factory=Keep)

    def check(self) -> None:
        """Refuse settings that would open the machine to strangers.

        Raises:
            StepgraphError: an address beyond loopback without a token.
        """
        if not self.token and not is_loopback(self.host):
            raise StepgraphError(
                f"--host {self.host} can be reached by others, and there is no token: give one with --token-file FILE, "
                "or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether an address leads to this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
