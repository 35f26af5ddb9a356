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
from hashlib import blake2b
from random import Random
from typing import Any

_SHARES = ("status_429", "status_500", "malformed", "garbage", "hang", "reset")
_MARK = b"[row "  # stands before the seven digits of a row's number in its text, and ends with "]"
_MARK_END = len(_MARK) + 8
_SYLLABLES = ("ba", "con", "der", "fin", "gel", "hus", "im", "jo", "kal", "lem", "mor", "nes", "ot", "pra", "ri", "sun")
WORDS = [first + second for first in _SYLLABLES for second in _SYLLABLES]


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
            return _http(400, json.dumps({"error": {"message": f"no such setting: {sorted(unknown)}"}}).encode())
        self.begin(Settings(**changes))
        return _http(200, b"{}")

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
            self.log.write(json.dumps([event, at, subject(body).decode(), _digest(body)]) + "\n")

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
        if _MARK not in body:
            self.send(_completion(body, json.dumps(_smallest(_schema_of(json.loads(body))))))
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


def subject(body: bytes) -> bytes:
    """The row that a request asks about: the last mark in it."""
    start = body.rfind(_MARK)
    return body[start : start + _MARK_END]


def words(seed: bytes, characters: int) -> str:
    """Text of so many characters that compresses about as well as prose; the same for the same seed."""
    found, count = [], 0
    while count < characters:
        seed = blake2b(seed).digest()
        found.append(" ".join([WORDS[number] for number in seed]))
        count += len(found[-1]) + 1
    return " ".join(found)[:characters]


def tags_of(mark: bytes, count: int = 3) -> list[str]:
    """Tags of a row, by its mark: distinct, in lower case."""
    digest = blake2b(mark, digest_size=8).digest()
    return [f"{WORDS[digest[number]]} {number}" for number in range(count)]


def reply_to(body: bytes, settings: Settings) -> str:
    """The JSON text that answers a request."""
    mark, length = subject(body), settings.characters
    text = words(mark, length * settings.tags)
    parts = [
        f'{{"tag": "{tag}", "explanation": "{text[number * length : (number + 1) * length]}"}}'
        for number, tag in enumerate(tags_of(mark, settings.tags))
    ]
    return f'{{"tags": [{", ".join(parts)}]}}'


def share_of(mark: bytes) -> float:
    """A number in [0, 1) that follows from a row's mark; those below `Settings.poison` are poisoned."""
    return int.from_bytes(blake2b(mark, digest_size=4).digest(), "big") / 2**32


def _answer(body: bytes, fault: str, settings: Settings) -> bytes:
    if fault == "status_429":
        wait = b"Retry-After: %d\r\n" % settings.retry_after if settings.retry_after else b""
        return _http(429, b'{"error": {"message": "slow down", "type": "rate_limit"}}', wait)
    if fault == "status_500":
        return _http(500, b'{"error": {"message": "internal error", "type": "server_error"}}')
    if fault == "garbage":
        return _http(200, b"<html>a proxy says hello</html>")
    text = reply_to(body, settings)
    return _completion(body, text[: len(text) // 2] if fault == "malformed" else text)


def _completion(body: bytes, text: str) -> bytes:
    asked, said = len(body) // 4, len(text) // 4
    usage = f'"prompt_tokens": {asked}, "completion_tokens": {said}, "total_tokens": {asked + said}'
    message = _message(body, text)
    return _http(
        200,
        (
            '{"id": "chatcmpl-0", "object": "chat.completion", "created": 1700000000, "model": "bench", "choices": '
            f'[{{"index": 0, "message": {message}}}], "usage": {{{usage}}}}}'
        ).encode(),
    )


def _message(body: bytes, text: str) -> str:
    """The text as the message's content, or as a tool's arguments where the request forces a tool; with its finish."""
    quoted = text.replace('"', '\\"')
    if b'"tool_choice"' not in body:
        return f'{{"role": "assistant", "content": "{quoted}"}}, "finish_reason": "stop"'
    name = json.loads(body)["tools"][0]["function"]["name"]
    call = f'{{"id": "call-0", "type": "function", "function": {{"name": "{name}", "arguments": "{quoted}"}}}}'
    return f'{{"role": "assistant", "content": null, "tool_calls": [{call}]}}, "finish_reason": "tool_calls"'


def _schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema that a request sends as its response format or as its tool; else one of a text."""
    if "tools" in body:
        return dict(body["tools"][0]["function"]["parameters"])
    given = body.get("response_format") or {}
    return dict(given["json_schema"]["schema"]) if "json_schema" in given else {"type": "string"}


def _smallest(schema: dict[str, Any]) -> object:
    """A value of a plain schema."""
    if schema.get("type") == "object":
        return {name: _smallest(part) for name, part in schema["properties"].items()}
    return {"integer": 1, "number": 1.0, "boolean": True, "array": []}.get(schema.get("type", ""), "ok")


def _http(status: int, body: bytes, extra: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, len(body), extra) + body


def _other(server: Server, head: bytes, body: bytes) -> bytes:
    line = head[: head.find(b"\r\n")]
    if b"/models" in line:
        return _http(200, b'{"object": "list", "data": [{"id": "bench", "object": "model"}]}')
    if b"/stats" in line:
        return _http(200, json.dumps({**asdict(server.stats), "in_flight": server.in_flight}).encode())
    if b"/reset" in line:
        return server.reset(body)
    return _http(404, b'{"error": {"message": "not here"}}')


def _length(head: bytes) -> int:
    start = head.find(b"content-length:")
    return int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=8).hexdigest()


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
