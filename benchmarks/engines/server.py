"""A server that speaks the OpenAI chat completions protocol without a model, made to be faster than any client of it.

    python benchmarks/engines/server.py --port 8100 --latency 0.2 --status-429 0.05 --hang 0.005

It parses no more of HTTP than clients of this protocol send. The reply to a tagging request is a JSON object that fits
the request's schema; faults are drawn at random, each request anew. `GET /stats` says what was received, `POST /reset`
forgets it and takes new settings as a JSON body.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from random import Random


@dataclass
class Settings:
    """What the server does.

    Attributes:
        latency: Seconds from a request to its answer.
        capacity: Requests in flight above which it answers 429; 0 for any number.
        status_429, status_500, malformed, garbage, hang, reset: Shares of the requests, in [0, 1]: `malformed` is a
            good completion whose text is broken JSON, `garbage` a body that is no completion, `hang` no answer ever,
            `reset` a connection that is cut.
        poison: Share of the *questions* whose every reply is malformed, whatever the draw; chosen by their text.
        hang_once: One request, the number of it, that never answers; -1 for none.
        characters: Length of a reply's explanations, in characters.
        seed: Of the draws.
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
    characters: int = 40
    seed: int = 0


@dataclass
class Stats:
    """What the server saw since the last reset."""

    requests: int = 0
    answered: int = 0
    most_in_flight: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Server:
    """State shared by all connections."""

    def __init__(self, settings: Settings, log: str | None) -> None:
        self.settings, self.stats = settings, Stats()
        self.random = Random(settings.seed)
        self.in_flight = 0
        self.log = open(log, "a", buffering=1) if log else None  # noqa: SIM115 - open as long as the server

    def reset(self, changes: dict[str, float]) -> None:
        """Forget what was seen; take new settings."""
        self.settings = Settings(**changes)
        self.stats, self.random = Stats(), Random(self.settings.seed)

    def fault(self, body: bytes) -> str:
        """The fault of this request, or an empty text."""
        settings = self.settings
        if self.stats.requests - 1 == settings.hang_once:
            return "hang"
        if settings.capacity and self.in_flight > settings.capacity:
            return "status_429"
        if settings.poison and _share_of(_question(body)) < settings.poison:
            return "malformed"
        drawn = self.random.random()
        for name in ("status_429", "status_500", "malformed", "garbage", "hang", "reset"):
            drawn -= getattr(settings, name)
            if drawn < 0:
                return name
        return ""


class Connection(asyncio.Protocol):
    """One client's connection, kept alive."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end]).lower()
            length = _length(head)
            if len(self.buffer) < end + 4 + length:
                if b"expect: 100-continue" in head:
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            self.take(head, body)

    def take(self, head: bytes, body: bytes) -> None:
        """Answer one request, now or later."""
        server = self.server
        if b"/chat/completions" not in head[: head.find(b"\r\n")]:
            self.transport.write(_other(server, head, body))
            return
        server.stats.requests += 1
        server.in_flight += 1
        server.stats.most_in_flight = max(server.stats.most_in_flight, server.in_flight)
        if server.log:
            server.log.write(json.dumps(["asked", self.loop.time(), _name(body)]) + "\n")
        fault = server.fault(body)
        if fault:
            server.stats.faults[fault] = server.stats.faults.get(fault, 0) + 1
        if fault == "hang":
            return
        wait = 0.0 if fault.startswith("status") else server.settings.latency
        self.loop.call_later(wait, self.answer, body, fault)

    def answer(self, body: bytes, fault: str) -> None:
        """Send the answer, or the fault in its place."""
        server = self.server
        server.in_flight -= 1
        if self.transport.is_closing():
            return
        if fault == "reset":
            self.transport.abort()
            return
        self.transport.write(_FAULTS[fault] if fault in _FAULTS else _completion(body, fault, server.settings))
        if not fault:
            server.stats.answered += 1
            if server.log:
                server.log.write(json.dumps(["answered", self.loop.time(), _name(body)]) + "\n")


def reply_to(body: bytes, characters: int) -> str:
    """Tags for a question: always the same for the same body, and none without a letter."""
    mark = blake2b(body, digest_size=8).hexdigest()
    words = [f"topic {mark[:3]}", f"skill {mark[3:6]}", f"form {mark[6:9]}"]
    why = (f"because the text asks for {mark[9:12]} " * (characters // 20 + 1))[:characters]
    return json.dumps({"tags": [{"tag": word, "explanation": why} for word in words]})


def _completion(body: bytes, fault: str, settings: Settings) -> bytes:
    text = reply_to(body, settings.characters)
    content = text[: len(text) // 2] if fault == "malformed" else text
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4, "total_tokens": len(body + b"") // 4}
    answer = {"id": "c-0", "object": "chat.completion", "created": 0, "model": "bench", "choices": [choice]}
    return _http(200, json.dumps({**answer, "usage": usage}).encode())


def _http(status: int, body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s" % (
        status,
        len(body),
        extra,
        body,
    )


_FAULTS = {
    "status_429": _http(429, b'{"error": {"message": "slow down"}}', b"Retry-After: 1\r\n"),
    "status_500": _http(500, b'{"error": {"message": "internal error"}}'),
    "garbage": _http(200, b"<html>a proxy says hello</html>"),
}


def _other(server: Server, head: bytes, body: bytes) -> bytes:
    line = head[: head.find(b"\r\n")]
    if b"/models" in line:
        return _http(200, b'{"object": "list", "data": [{"id": "bench", "object": "model"}]}')
    if b"/stats" in line:
        return _http(200, json.dumps(asdict(server.stats)).encode())
    if b"/reset" in line:
        known = {part.name for part in fields(Settings)}
        server.reset({name: value for name, value in json.loads(body or b"{}").items() if name in known})
        return _http(200, b"{}")
    return _http(404, b'{"error": {"message": "not here"}}')


def _length(head: bytes) -> int:
    start = head.find(b"content-length:")
    return int(head[start + 15 : head.find(b"\r\n", start) if b"\r\n" in head[start:] else None]) if start >= 0 else 0


def _question(body: bytes) -> bytes:
    """The messages of a request, whatever its seed and temperature."""
    return json.dumps(json.loads(body)["messages"]).encode()


def _name(body: bytes) -> str:
    return blake2b(body, digest_size=8).hexdigest()


def _share_of(text: bytes) -> float:
    return int.from_bytes(blake2b(text, digest_size=4).digest(), "big") / 2**32


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
    parser.add_argument("--log", help="a file that gets a line for each request and each answer")
    for part in fields(Settings):
        parser.add_argument(f"--{part.name.replace('_', '-')}", type=type(part.default), default=part.default)
    given = vars(parser.parse_args())
    port, log = given.pop("port"), given.pop("log")
    asyncio.run(serve(port, Server(Settings(**given), log)))


if __name__ == "__main__":
    main()
