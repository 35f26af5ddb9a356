"""What an engine is: requests in, replies out, in whatever order they are ready."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from ..parsing import schema_text

Schema = Mapping[str, Any]
FinishReason = Literal["stop", "length", "error"]
_HASHED_AT_ONCE = 2000  # bytes; above 2,047 hashlib hands the interpreter to another thread, which costs far more


def _digest(data: bytes) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(data), _HASHED_AT_ONCE):
        digest.update(data[start : start + _HASHED_AT_ONCE])
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    Attributes:
        role: "system", "user" or "assistant".
        content: The text.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: In (0, 1].
        max_tokens: Upper bound of the reply's length, in tokens.
        seed: Seed of this request alone; None where the reply is greedy.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    Attributes:
        messages: The chat so far; the last turn is the user's.
        sampling: How the reply is drawn.
        schema: JSON schema that the reply must match, or None for free text.
        draw: 0 for the first try; a new draw of the same question has the next number.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    schema: Schema | None = None
    draw: int = 0

    def key(self, identity: str) -> str:
        """SHA-256 (hex) of everything that can change the reply, the engine's identity included."""
        sampling = self.sampling
        schema = "" if self.schema is None else schema_text(self.schema)
        parts = [
            identity,
            f"{float(sampling.temperature)!r} {float(sampling.top_p)!r} {sampling.max_tokens} {sampling.seed}",
            f"{self.draw}",
            schema,
            *(text for message in self.messages for text in (message.role, message.content)),
        ]
        lengths = ",".join([str(len(part)) for part in parts])  # so that no two lists of parts give one text
        return _digest("".join([lengths, "\n", *parts]).encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, or why there is none.

    Attributes:
        text: The generated text; empty on error.
        finish_reason: "stop", "length" (cut off at max_tokens) or "error".
        prompt_tokens: Tokens of the prompt, 0 where unknown.
        completion_tokens: Tokens of the reply, 0 where unknown.
        cached_tokens: Prompt tokens that the prefix cache served, 0 where unknown.
        reason: On error, a key of `rows.REASONS`; else empty.
        detail: On error, what the engine said, in one line; else empty.
    """

    text: str
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reason: str = ""
    detail: str = ""


def failed(reason: str, detail: str = "") -> Reply:
    """A reply that carries an error of one request (a bad machine is an `EngineError` instead)."""
    return Reply(text="", finish_reason="error", reason=reason, detail=detail)


class Engine(Protocol):
    """Anything that answers requests.

    Attributes:
        identity: Names only what changes answers: model, revision, quantisation. Never a URL, a port,
            a parallelism or a memory share.
    """

    @property
    def identity(self) -> str:
        """See above."""
        ...

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """Answer all requests.

        Pulls requests lazily, from the thread of the caller; keeps a bounded number in flight; yields each
        reply as soon as it is ready, with the request's position in `requests`. Each position is yielded
        exactly once. A request that cannot be answered gives a `Reply` with an error.

        Raises:
            EngineError: If the machine behind it fails.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds (memory, connections, processes). Safe to call twice."""
        ...


@runtime_checkable
class SteadyEngine(Engine, Protocol):
    """An engine whose flow of requests can pause and go on; what this package's own engines with a machine behind are.

    It lets a caller ask again for a bad reply while the others still run, and store in one transaction what came at
    the same time.
    """

    def arrivals(self, requests: Iterator[Request | None]) -> Iterator[list[tuple[int, Reply]]]:
        """As `stream`, with pauses and in groups.

        None in place of a request means: there is none now, pull again after the next group. Positions count
        requests only. A group holds the replies that became ready since the last one; it is empty only where the
        requests pause while nothing is in flight, or while they are collected and not sent yet. A request counts as
        in flight until the group with its reply has been taken and the next one is asked for, so that a caller who
        stores a group before it asks for the next can lose no more replies than there are in flight.
        """
        ...


def arrivals(engine: Engine, requests: Iterator[Request | None]) -> Generator[list[tuple[int, Reply]], None, None]:
    """As `SteadyEngine.arrivals`, of any engine; a plain one ends its stream at each pause."""
    if isinstance(engine, SteadyEngine):
        yield from engine.arrivals(requests)  # closed with this one
        return
    first, ended = 0, False

    def until_pause() -> Iterator[Request]:
        nonlocal ended
        for request in requests:
            if request is None:
                return
            yield request
        ended = True

    while not ended:
        last = first
        for position, reply in engine.stream(until_pause()):
            last += 1
            yield [(first + position, reply)]
        first = last
        if not ended:
            yield []


def one_by_one(groups: Iterator[list[tuple[int, Reply]]]) -> Iterator[tuple[int, Reply]]:
    """The replies of `arrivals`, singly: what `stream` is for a `SteadyEngine`."""
    try:
        for group in groups:
            yield from group
    finally:
        close = getattr(groups, "close", None)
        if close is not None:
            close()
