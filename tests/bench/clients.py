"""Clients that cost little, in a process of their own, so that a measurement is about the server.

Each has one connection that it keeps, and sends its next request when the answer to the last one is there. It writes
bytes and looks for no more than the status and the length: about a fifth of what a whole HTTP client costs, which would
have to share the machine with the server.

    python -m tests.bench.clients < ORDER     (an `Order` as JSON; prints a `Tally` as JSON)
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial

from tests.bench.measure import ROOT

NUMBER = "@N"
"""In a header or a body it stands for the number of the request."""


@dataclass(frozen=True)
class Order:
    """What is to be asked.

    Args:
        body: Sent with POST; without one the request is a GET.
        headers: Further lines of the head.
        right: The statuses that are right.
        clients: How many ask at the same time.
        seconds, requests: How long they ask, or how often together.
        first: The number of the first request.
    """

    host: str
    port: int
    path: str
    body: str = ""
    headers: tuple[str, ...] = ()
    right: tuple[int, ...] = (200,)
    clients: int = 1
    seconds: float = math.inf
    requests: int = 10**9
    first: int = 0


@dataclass
class Tally:
    """What came of an order: the seconds of each request, those of all together, the processor time of the clients."""

    took: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0


def ask(order: Order) -> Tally:
    """Have a process do it.

    Raises:
        RuntimeError: an answer had another status; the text is what it said.
    """
    command = [sys.executable, "-m", "tests.bench.clients"]
    done = subprocess.run(command, input=json.dumps(asdict(order)), capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Tally(**json.loads(done.stdout))


class Client(asyncio.Protocol):
    """One connection: sends a request as long as there are any, and waits for its answer."""

    def __init__(self, requests: Iterator[bytes], right: tuple[bytes, ...], took: list[float]) -> None:
        self._requests, self._right, self._took = requests, right, took
        self._received, self._length = bytearray(), 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._length = self._length or _length(self._received)
        if not self._length or len(self._received) < self._length:
            return
        self._took.append(time.perf_counter() - self._begin)
        if self._received[9:12] in self._right:
            self._send()
        else:
            self._end(RuntimeError(self._received[:1000].decode("utf-8", "replace")))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(RuntimeError(f"the server closed the connection: {exc}"))

    def _send(self) -> None:
        self._received.clear()
        self._length = 0
        if (request := next(self._requests, None)) is None:
            self._end(None)
            return
        self._begin = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
        self._transport.close()


def _length(received: bytearray) -> int:
    """How many bytes an answer has; 0 where its head is not there yet."""
    head, found, _ = received.partition(b"\r\n\r\n")
    if not found:
        return 0
    value = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return len(head) + len(found) + int(value)


def _requests(order: Order) -> Iterator[bytes]:
    end = time.perf_counter() + order.seconds
    for number in itertools.count(order.first):
        if number - order.first >= order.requests or time.perf_counter() >= end:
            return
        yield _request(order, str(number))


def _request(order: Order, number: str) -> bytes:
    body = order.body.replace(NUMBER, number).encode()
    lines = [f"{'POST' if body else 'GET'} {order.path} HTTP/1.1", f"Host: {order.host}:{order.port}", *order.headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).replace(NUMBER, number).encode() + body


async def run(order: Order) -> Tally:
    """Ask in this process."""
    tally, loop = Tally(), asyncio.get_running_loop()
    right = tuple(str(status).encode() for status in order.right)
    begin, cpu = time.perf_counter(), time.process_time()
    client = partial(Client, _requests(order), right, tally.took)
    connected = [loop.create_connection(client, order.host, order.port) for _ in range(order.clients)]
    await asyncio.gather(*(made.done for _, made in await asyncio.gather(*connected)))
    tally.seconds, tally.cpu = time.perf_counter() - begin, time.process_time() - cpu
    return tally


def main() -> None:
    order = json.load(sys.stdin)
    made = Order(**{**order, "headers": tuple(order["headers"]), "right": tuple(order["right"])})
    print(json.dumps(asdict(asyncio.run(run(made)))))


if __name__ == "__main__":
    main()
