"""An engine with a request store around it: what the store has is never asked again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

from ..errors import EngineError
from .base import Engine, Reply, Request, arrivals, failed, one_by_one
from .part import Part, Withheld
from .store import RequestStore
from .usage import Limits, Prices, Spending, Usage

Answer = tuple[int, str, Reply]  # position of the request, its key, the reply


class StoredEngine:
    """An engine with a request store around it; itself a `SteadyEngine`.

    Replies of the store cost nothing; requests that are equal to one in flight are asked once; errors are never
    stored, so that they are asked again by the next run.

    Args:
        engine: The engine, or a function that makes it when it is first needed.
        store: Where the replies are kept.
        opener: Function and arguments that open the same engine in another process, for pickling.
        prices: What its tokens cost, for the account and for `Limits.max_cost`.
        spending: Caps, perhaps shared with other engines; none by default.
        part: Of one of several jobs, what it may ask; None for everything.
    """

    def __init__(
        self,
        engine: Engine | Callable[[], Engine],
        store: RequestStore,
        opener: tuple[Callable[..., StoredEngine], tuple[object, ...]] | None = None,
        *,
        prices: Prices | None = None,
        spending: Spending | None = None,
        part: Part | None = None,
    ) -> None:
        self._make: Callable[[], Engine] | None = None
        self._engine: Engine | None = None
        if callable(engine):
            self._make = engine
        else:
            self._engine = engine
        self.store = store
        self.usage = Usage()
        self.prices = prices
        self.spending = spending or Spending(Limits())
        self.part = part
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

    @property
    def served(self) -> dict[str, int]:
        """Requests that each server answered, by URL; empty where the engine is not a server."""
        return dict(getattr(self._engine, "served", {}))

    def __reduce__(self) -> tuple[Callable[..., StoredEngine], tuple[object, ...]]:
        if self._opener is not None:
            return self._opener
        return _around, (self.engine,)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`; every reply is in the store before it is yielded."""
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Iterator[list[tuple[int, Reply]]]:
        """As `SteadyEngine.arrivals`; every group is in the store before it is yielded."""
        for group in self.answers(requests):
            yield [(position, reply) for position, _, reply in group]

    def answers(self, requests: Iterator[Request | None]) -> Generator[list[Answer], None, None]:
        """As `arrivals`, with the key of each request.

        Raises:
            EngineError: If the engine or the store fails.
            LimitError: If a cap is reached; what was in flight is stored before.
            Withheld: At the end, if other jobs ask some of the requests; here those had errors for replies.
        """
        source = _Source(requests, self)
        with closing(arrivals(self.engine, source.misses())) as groups:
            for group in groups:
                yield source.answered(group)
        rest = source.answered([])
        if rest:
            yield rest
        if source.withheld:
            raise Withheld(f"{source.withheld} requests are asked by other jobs")

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


_LOOK_AHEAD = 32  # requests that are looked up in the store at once
_MOMENT = 0.002  # seconds that may be spent on waiting for them


class _Source:
    """Sorts incoming requests into those that the store answers and those that must be asked."""

    _MOST_READY = 1024  # replies of the store that are held back at the most

    def __init__(self, requests: Iterator[Request | None], owner: StoredEngine) -> None:
        self._requests, self._owner, self._identity = requests, owner, owner.identity
        self._ready: deque[Answer] = deque()
        self._flying: dict[int, tuple[str, Request | None]] = {}  # by number of the asked request; kept for the caps
        self._waiting: dict[str, list[int]] = {}  # by key: positions that wait for its reply
        self._since: dict[str, Reply] = {}  # replies that came since the store was last looked into
        self._asked = 0
        self.withheld = 0

    def misses(self) -> Iterator[Request | None]:
        """Requests to ask; pauses where the caller does, where many stored replies wait, and at a cap."""
        position = 0
        while True:
            chunk, pauses, ended = self._pull()
            self._since.clear()
            replies = self._owner.store.get_all([key for key, _ in chunk])
            for (key, request), reply in zip(chunk, replies, strict=True):
                yield from self._sort(position, key, request, reply)
                position += 1
            if ended:
                return
            if pauses or len(self._ready) >= self._MOST_READY:
                yield None

    def _pull(self) -> tuple[list[tuple[str, Request]], bool, bool]:
        """The next requests with their keys, as many as come within a moment; whether they pause then, or end."""
        chunk: list[tuple[str, Request]] = []
        until = time.monotonic() + _MOMENT
        for request in self._requests:
            if request is None:
                return chunk, True, False
            chunk.append((request.key(self._identity), request))
            if len(chunk) >= _LOOK_AHEAD or time.monotonic() > until:
                return chunk, False, False
        return chunk, False, True

    def _sort(self, position: int, key: str, request: Request, reply: Reply | None) -> Iterator[Request | None]:
        owner = self._owner
        if key in self._waiting:
            self._waiting[key].append(position)
            owner.usage.shared += 1
        elif (reply := reply or self._since.get(key)) is not None:
            owner.usage.stored += 1
            owner.usage.stored_tokens += reply.prompt_tokens + reply.completion_tokens
            self._ready.append((position, key, reply))
        elif (reply := self._elsewhere(key, request)) is not None:
            self._ready.append((position, key, reply))
        else:
            yield from self._until_paid(request)
            self._flying[self._asked] = key, request if owner.spending.limits else None
            self._waiting[key] = [position]
            self._asked += 1
            yield request

    def _elsewhere(self, key: str, request: Request) -> Reply | None:
        """An error in place of the reply, where the request failed before or is for another job to ask."""
        part = self._owner.part
        if part is None or ((reply := part.failed.get(key)) is None and part.asks(request)):
            return None
        self.withheld += reply is None
        return reply or failed("refused_request", "another job asks it")

    def answered(self, group: list[tuple[int, Reply]]) -> list[Answer]:
        """Store a group of the engine's replies; they and those of the store, with positions and keys."""
        owner = self._owner
        fresh: list[tuple[str, Reply]] = []
        for number, reply in group:
            key, request = self._flying.pop(number)
            owner.usage.count(reply, owner.prices)
            if request is not None:
                owner.spending.end(request, reply, owner.prices)
            fresh.append((key, reply))
        if owner.part is not None:
            owner.part.failed.update((key, reply) for key, reply in fresh if reply.finish_reason == "error")
        good = [(key, reply) for key, reply in fresh if reply.finish_reason != "error"]
        if good:
            held = owner.store.put_all(good, self._identity)
            fresh = [(key, reply) for key, reply in fresh if reply.finish_reason == "error"]
            kept = [(key, reply) for (key, _), reply in zip(good, held, strict=True)]
            self._since.update(kept)
            fresh += kept
        answers = [(position, key, reply) for key, reply in fresh for position in self._waiting.pop(key)]
        answers += self._ready
        self._ready.clear()
        return answers

    def _until_paid(self, request: Request) -> Iterator[None]:
        """Wait until the caps have room for a request."""
        spending, prices = self._owner.spending, self._owner.prices
        while spending.limits and not spending.start(request, prices):
            if not self._flying and not self._ready:
                raise spending.reached(request, prices)
            yield None
