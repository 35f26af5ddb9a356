"""An engine with a request store around it: what the store has is never asked again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import EngineError
from .base import Engine, Reply, Request
from .store import RequestStore


@dataclass
class Usage:
    """What was asked of an engine since it was opened.

    Attributes:
        asked: Requests that the engine answered.
        stored: Replies that the store already had.
        shared: Requests that were equal to one in flight and got its reply.
        failed: Requests that ended without a reply, by reason.
        prompt_tokens: Sum over `asked`; likewise the other two.
    """

    asked: int = 0
    stored: int = 0
    shared: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def count(self, reply: Reply) -> None:
        """Add one reply of the engine."""
        if reply.finish_reason == "error":
            self.failed[reply.reason] += 1
            return
        self.asked += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.cached_tokens += reply.cached_tokens


class StoredEngine:
    """An engine with a request store around it; itself an `Engine`.

    Replies of the store come first and cost nothing; requests that are equal to one in flight are asked once; errors
    are never stored, so that they are asked again by the next run.

    Args:
        engine: The engine, or a function that makes it when it is first needed.
        store: Where the replies are kept.
        opener: Function and arguments that open the same engine in another process, for pickling.
    """

    def __init__(
        self,
        engine: Engine | Callable[[], Engine],
        store: RequestStore,
        opener: tuple[Callable[..., StoredEngine], tuple[object, ...]] | None = None,
    ) -> None:
        self._make: Callable[[], Engine] | None = None
        self._engine: Engine | None = None
        if callable(engine):
            self._make = engine
        else:
            self._engine = engine
        self.store = store
        self.usage = Usage()
        self._opener = opener

    @property
    def engine(self) -> Engine:
        """The engine inside."""
        if self._engine is None and self._make is not None:
            self._engine = self._make()
        if self._engine is None:
            raise EngineError("this engine is closed")
        return self._engine

    @property
    def identity(self) -> str:
        """Identity of the engine inside."""
        return self.engine.identity

    @property
    def used(self) -> bool:
        """Whether the engine inside was made, so that its identity is known at no cost."""
        return self._engine is not None

    def __reduce__(self) -> tuple[Callable[..., StoredEngine], tuple[object, ...]]:
        if self._opener is not None:
            return self._opener
        return _around, (self.engine,)

    def recall(self, request: Request) -> Reply | None:
        """The stored reply of a request, or None; asks nothing."""
        return self.store.get(request.key(self.identity))

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`; every reply is in the store before it is yielded."""
        source = _Source(enumerate(requests), self.identity, self.store, self.usage)
        while True:
            yield from source.hits()
            if source.ended:
                return
            for asked, reply in self.engine.stream(source.misses()):
                key, waiting = source.answered(asked)
                if reply.finish_reason != "error":
                    self.store.put(key, reply)
                self.usage.count(reply)
                for position in waiting:
                    yield position, reply
                while source.ready:
                    yield source.ready.popleft()

    def close(self) -> None:
        """Close the engine inside and the store's connection."""
        if self._engine is not None:
            self._engine.close()
        self.store.close()


def _around(engine: Engine) -> StoredEngine:
    return StoredEngine(engine, RequestStore.temporary())


def stored(engine: Engine) -> StoredEngine:
    """The engine itself if it has a store, else the engine with a temporary store around it."""
    return engine if isinstance(engine, StoredEngine) else _around(engine)


class _Source:
    """Sorts incoming requests into those that the store answers and those that must be asked."""

    _MOST_READY = 4096  # bound of the replies held back while the engine pulls requests

    def __init__(
        self, requests: Iterator[tuple[int, Request]], identity: str, store: RequestStore, usage: Usage
    ) -> None:
        self._requests, self._identity, self._store, self._usage = requests, identity, store, usage
        self.ready: deque[tuple[int, Reply]] = deque()
        self.ended = False
        self._next: tuple[int, str, Request] | None = None
        self._keys: dict[int, str] = {}
        self._waiting: dict[str, list[int]] = {}
        self._asked = 0

    def hits(self) -> Iterator[tuple[int, Reply]]:
        """Replies of the store, up to the first request that it cannot answer."""
        while self.ready:
            yield self.ready.popleft()
        if self._next is not None:
            return
        for position, request in self._requests:
            key = request.key(self._identity)
            reply = self._store.get(key)
            if reply is None:
                self._next = (position, key, request)
                return
            self._usage.stored += 1
            yield position, reply
        self.ended = True

    def misses(self) -> Iterator[Request]:
        """Requests to ask; ends early when many replies of the store are waiting to be yielded."""
        self._keys, self._waiting, self._asked = {}, {}, 0
        if self._next is not None:
            position, key, request = self._next
            self._next = None
            yield self._ask(position, key, request)
        for position, request in self._requests:
            key = request.key(self._identity)
            if key in self._waiting:
                self._waiting[key].append(position)
                self._usage.shared += 1
            elif (reply := self._store.get(key)) is not None:
                self._usage.stored += 1
                self.ready.append((position, reply))
                if len(self.ready) >= self._MOST_READY:
                    return
            else:
                yield self._ask(position, key, request)

    def answered(self, asked: int) -> tuple[str, list[int]]:
        """Key of a request by its number of this stream, and the positions that wait for its reply."""
        key = self._keys.pop(asked)
        return key, self._waiting.pop(key)

    def _ask(self, position: int, key: str, request: Request) -> Request:
        self._keys[self._asked] = key
        self._waiting[key] = [position]
        self._asked += 1
        return request
