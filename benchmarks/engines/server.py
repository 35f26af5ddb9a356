"""A server that speaks the OpenAI chat completions protocol without a model, made to be faster than any client of it.

    python benchmarks/engines/server.py --port 8100 --latency 0.2 --status-429 0.05 --hang 0.005

It parses no more of HTTP than clients of this protocol send. The reply to a question is a JSON object of tags that
follow from the row's mark in the question, so that a client can check that each row got its own; faults are drawn at
random, each request anew. A request without a mark, as clients send them to find out what a server can do, is answered
at once by the smallest value of its schema, and neither counted nor failed. `GET /stats` says what was received,
`POST /reset` forgets it and takes new settings as a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import deque
from dataclasses import asdict, dataclass, field, fields
from random import Random

from replies import MARK, completion, digest, http, reply_to, schema_of, share_of, smallest, subject

_SHARES = ("status_429", "status_500", "malformed", "garbage", "hang", "reset")


@dataclass
class Settings:
    """What the server does.

    Attributes:
        latency: Seconds from a request to its answer.
        capacity: Requests in flight above which it answers 429; 0 for any number.
        status_429, status_500, malformed, garbage, hang, reset: Shares of the requests, in [0, 1]: `malformed` is a
            good completion whose text is broken JSON, `garbage` a body that is no completion, `hang` no answer ever,
            `reset` a connection that is cut.
        poison: Share of the *rows* whose every reply is malformed, whatever the draw; chosen by their mark.
        hang_once: One request, by its number from 0, that never answers; -1 for none.
        retry_after: Seconds in the header of a 429; 0 for no such header.
        tags: Tags in a reply.
        characters: Length of each tag's explanation, in characters.
        seed: Of the faults.
    """

    latency: float = 0.2
    capacity: int = 0
    status_429: float = 0.0
    status_500: float = 0.0
    malformed: float = 0.0
    garbage: float = 0.0
    hang: float = 0.0
    reset: float = 0.0
    poison: float = 0.0
    hang_once: int = -1
    retry_after: int = 1
    tags: int = 3
    characters: int = 40
    seed: int = 0


@dataclass
class Stats:
    """What the server saw since the last reset.

    Attributes:
        requests: Chat completions asked for.
        answered: Good completions sent; a malformed one is none.
        most_in_flight: Most requests in flight at once, hanging ones included.
        faults: Faults sent, by name.
        first, last: Time of the first request and of the last answer, in seconds of the machine's monotonic clock.
    """

    requests: int = 0
    answered: int = 0
    most_in_flight: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0


class Server:
    """State shared by all connections."""

    def __init__(self, settings: Settings, log: str | None) -> None:
        self.log = open(log, "a", buffering=1) if log else None  # noqa: SIM115 - open as long as the server
        self.in_flight = 0
        self.begin(settings)

    def begin(self, settings: Settings) -> None:
        """Forget what was seen; take new settings. Requests in flight stay counted as such."""
        self.settings, self.stats, self.random = settings, Stats(), Random(settings.seed)
        self.faulty = any(getattr(settings, name) for name in _SHARES)
        self.waiting: deque[tuple[float, Connection, bytes, str]] = deque()

    def reset(self, body: bytes) -> bytes:
        """Answer to `POST /reset`."""
        changes = json.loads(body or b"{}")
        unknown = set(changes) - {part.name for part in fields(Settings)}
        if unknown:
            return http(400, json.dumps({"error": {"message": f"no such setting: {sorted(unknown)}"}}).encode())
        self.begin(Settings(**changes))
        return http(200, b"{}")

    def fault(self, body: bytes) -> str:
        """The fault of the newest request, or an empty text."""
        settings = self.settings
        if self.stats.requests - 1 == settings.hang_once:
            return "hang"
        if settings.capacity and self.in_flight > settings.capacity:
            return "status_429"
        if settings.poison and share_of(subject(body)) < settings.poison:
            return "malformed"
        if not self.faulty:
            return ""
        drawn = self.random.random()
        for name in _SHARES:
            drawn -= getattr(settings, name)
            if drawn < 0:
                return name
        return ""

    def note(self, event: str, at: float, body: bytes) -> None:
        """Write a line of the log: what happened, when, the row, and the digest of the whole request."""
        if self.log:
            self.log.write(json.dumps([event, at, subject(body).decode(), digest(body)]) + "\n")

    def later(self, connection: Connection, body: bytes, fault: str) -> None:
        """Answer after the latency. One timer serves all that wait, as all wait equally long."""
        loop = connection.loop
        due = loop.time() + self.settings.latency
        self.waiting.append((due, connection, body, fault))
        if len(self.waiting) == 1:
            loop.call_at(due, self._answer_due, self.waiting)

    def _answer_due(self, waiting: deque[tuple[float, Connection, bytes, str]]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while waiting and waiting[0][0] <= now + 0.0002:
            _, connection, body, fault = waiting.popleft()
            connection.answer(body, fault)
        if waiting:
            loop.call_at(waiting[0][0], self._answer_due, waiting)


class Connection(asyncio.Protocol):
    """One client's connection, kept alive."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = bytearray()
        self.unanswered = 0
        self.last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.loop = asyncio.get_running_loop()

    def connection_lost(self, fault: Exception | None) -> None:
        """The client went away: what it waited for is in flight no more."""
        self.server.in_flight -= self.unanswered
        self.unanswered = 0

    def data_received(self, data: bytes) -> None:
        """Take every whole request that has come; called by asyncio."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end]).lower()
            whole = end + 4 + _length(head)
            if len(self.buffer) < whole:
                if b"expect: 100-continue" in head:
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self.buffer[end + 4 : whole])
            del self.buffer[:whole]
            self.take(head, body)

    def take(self, head: bytes, body: bytes) -> None:
        """Answer one request, now or later."""
        server = self.server
        self.last = b"\r\nconnection: close" in head
        if b"/chat/completions" not in head[: head.find(b"\r\n")]:
            self.send(_other(server, head, body))
            return
        if MARK not in body:
            self.send(completion(body, json.dumps(smallest(schema_of(json.loads(body))))))
            return
        stats = server.stats
        now = self.loop.time()
        stats.first = stats.first or now
        stats.requests += 1
        server.in_flight += 1
        self.unanswered += 1
        stats.most_in_flight = max(stats.most_in_flight, server.in_flight)
        server.note("asked", now, body)
        fault = server.fault(body)
        if fault:
            stats.faults[fault] = stats.faults.get(fault, 0) + 1
        if fault.startswith("status"):
            self.answer(body, fault)
        elif fault != "hang":
            server.later(self, body, fault)

    def send(self, answer: bytes) -> None:
        """Send an answer; end the connection where the client wants that."""
        self.transport.write(answer)
        if self.last:
            self.transport.close()

    def answer(self, body: bytes, fault: str) -> None:
        """Send the answer, or the fault in its place."""
        if not self.unanswered:
            return  # the client went away
        server = self.server
        server.in_flight -= 1
        self.unanswered -= 1
        if fault == "reset":
            self.transport.abort()
            return
        self.send(_answer(body, fault, server.settings))
        server.stats.last = self.loop.time()
        if not fault:
            server.stats.answered += 1
            server.note("answered", server.stats.last, body)


def _answer(body: bytes, fault: str, settings: Settings) -> bytes:
    if fault == "status_429":
        wait = b"Retry-After: %d\r\n" % settings.retry_after if settings.retry_after else b""
        return http(429, b'{"error": {"message": "slow down", "type": "rate_limit"}}', wait)
    if fault == "status_500":
        return http(500, b'{"error": {"message": "internal error", "type": "server_error"}}')
    if fault == "garbage":
        return http(200, b"<html>a proxy says hello</html>")
    text = reply_to(body, settings.tags, settings.characters)
    return completion(body, text[: len(text) // 2] if fault == "malformed" else text)


def _other(server: Server, head: bytes, body: bytes) -> bytes:
    line = head[: head.find(b"\r\n")]
    if b"/models" in line:
        return http(200, b'{"object": "list", "data": [{"id": "bench", "object": "model"}]}')
    if b"/stats" in line:
        return http(200, json.dumps({**asdict(server.stats), "in_flight": server.in_flight}).encode())
    if b"/reset" in line:
        return server.reset(body)
    return http(404, b'{"error": {"message": "not here"}}')


def _length(head: bytes) -> int:
    start = head.find(b"content-length:")
    return int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


async def serve(port: int, server: Server) -> None:
    """Serve until the process is told to end."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1#bench\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


def main() -> None:
    """Read the settings and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--log", help="a file that gets a line for each request and each good answer")
    for part in fields(Settings):
        parser.add_argument(f"--{part.name.replace('_', '-')}", type=type(part.default), default=part.default)
    given = vars(parser.parse_args())
    port, log = given.pop("port"), given.pop("log")
    asyncio.run(serve(port, Server(Settings(**given), log)))


if __name__ == "__main__":
    main()
