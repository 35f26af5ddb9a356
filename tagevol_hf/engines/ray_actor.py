"""What runs on a node of a Ray cluster: one engine that never stops between two blocks of requests."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ..errors import TagEvolError
from .base import Engine, Reply, Request, arrivals

_NEWS_SECONDS = 0.002  # replies of so long go back together


@dataclass(frozen=True)
class Hello:
    """An actor's first word.

    Attributes:
        identity: Of its engine; empty on a fault.
        node: Where it runs.
        pid: Its process.
        version: Of this package there.
        fault: Why its engine cannot be opened; else empty.
    """

    identity: str
    node: str
    pid: int
    version: str
    fault: str = ""


@dataclass(frozen=True)
class News:
    """What became ready in an actor.

    Attributes:
        replies: With their requests' numbers.
        fault: Why its engine ended; else empty.
    """

    replies: list[tuple[int, Reply]]
    fault: str = ""


class EngineActor:
    """One engine in a process of its own; used as a Ray actor with a thread for each method.

    Requests come in blocks, replies leave in groups as they become ready: a block has no end that the engine would
    wait at.

    Args:
        spec: The engine's name.
        environment: What the engine reads from the environment; set here, so that no log of Ray's shows it.
    """

    def __init__(self, spec: str, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        self._spec = spec
        self._incoming: SimpleQueue[list[tuple[int, Request]]] = SimpleQueue()
        self._ready: SimpleQueue[News] = SimpleQueue()
        self._flying: dict[int, int] = {}  # by the position in the engine's stream: the request's number

    def hello(self) -> Hello:
        """Open the engine, which loads no model yet, and have it wait for requests."""
        from .. import __version__
        from .open import open_inside

        identity = fault = ""
        try:
            engine = open_inside(self._spec)
            identity = engine.identity
            threading.Thread(target=self._work, args=(engine,), name="tagevol-engine", daemon=True).start()
        except Exception as error:
            fault = _told(error)
        return Hello(identity, _node(), os.getpid(), __version__, fault)

    def add(self, block: list[tuple[int, Request]]) -> None:
        """Take requests, with their numbers; does not wait."""
        self._incoming.put(block)

    def take(self) -> News:
        """What became ready since the last call; waits for it."""
        news = self._ready.get()
        replies = list(news.replies)
        while not news.fault:
            try:
                news = self._ready.get(timeout=_NEWS_SECONDS) if len(replies) == 1 else self._ready.get_nowait()
            except Empty:
                break
            replies += news.replies
        return News(replies, news.fault)

    def _work(self, engine: Engine) -> None:
        try:
            for group in arrivals(engine, self._requests()):
                if group:
                    self._ready.put(News([(self._flying.pop(position), reply) for position, reply in group]))
        except Exception as error:
            self._ready.put(News([], _told(error)))

    def _requests(self) -> Iterator[Request | None]:
        """What came; pauses where nothing did while the engine works, waits where it does not."""
        position, block = 0, deque[tuple[int, Request]]()
        while True:
            if not block and not (self._flying and self._incoming.empty()):
                block.extend(self._incoming.get())
            if not block:
                yield None
                continue
            number, request = block.popleft()
            self._flying[position] = number
            position += 1
            yield request


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, TagEvolError) else f"{type(error).__name__}: {' '.join(str(error).split())}"


def _node() -> str:
    from .ray_cluster import library

    return str(library().util.get_node_ip_address())
