"""Which server of a pool gets the next request, and how many may run there. Lives inside one asyncio loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from yarl import URL

_MANY = 0.2  # share of refusals above which a server has too much to do; below it is chance
_LEAST_WINDOW = 50  # attempts before the share is looked at
_LONGEST_REST = 30.0  # seconds that a dead server is left alone at the most


@dataclass
class Limit:
    """How many requests may run at once: additive increase, multiplicative decrease.

    The share of refusals is looked at over a window of attempts, because a server that refuses a few by chance
    is not overloaded.

    Attributes:
        most: Upper bound, and the value at the start.
    """

    most: int
    value: float = field(init=False)
    _attempts: int = 0
    _refused: int = 0

    def __post_init__(self) -> None:
        self.value = float(self.most)

    def count(self, refused: bool) -> None:
        """Note how an attempt ended: refused means 429, 503 or no answer in time."""
        self._attempts += 1
        self._refused += refused
        if self._attempts < max(_LEAST_WINDOW, self.value):
            return
        if self._refused > _MANY * self._attempts:
            self.value = max(1.0, self.value / 2)
        else:
            self.value = min(float(self.most), self.value + max(1.0, self.most / 16))
        self._attempts = self._refused = 0


@dataclass
class Member:
    """One server of the pool.

    Attributes:
        url: Base URL, ending in `/v1` as a rule.
        limit: How many requests may run there.
        running: How many do.
        served: Requests that it answered.
        down_until: Loop time before which it is left alone.
        endpoint: Where it is asked.
        fault: What was wrong when it was last left, in one line.
    """

    url: str
    limit: Limit
    endpoint: URL = field(init=False)
    running: int = 0
    served: int = 0
    down_until: float = 0.0
    fault: str = ""
    _rest: float = 0.0

    def __post_init__(self) -> None:
        self.endpoint = URL(f"{self.url}/chat/completions")

    @property
    def room(self) -> int:
        """Requests that may start there now; one at a time at a server that was left and is tried again."""
        return int(1 if self._rest else self.limit.value) - self.running

    def leave(self, now: float, fault: str) -> None:
        """It cannot be reached: leave it for a while, longer each time."""
        self.fault = fault
        if now >= self.down_until:
            self._rest = min(max(1.0, self._rest * 2), _LONGEST_REST)
            self.down_until = now + self._rest

    def answered(self) -> None:
        """It is there."""
        self.down_until = self._rest = 0.0


class Pool:
    """Gives each request the server with the least in flight.

    Args:
        urls: Base URLs.
        concurrency: Most requests that run at one server at once.
    """

    def __init__(self, urls: Sequence[str], concurrency: int) -> None:
        self.members = [Member(url, Limit(concurrency)) for url in urls]
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._next = 0

    def up(self, now: float) -> list[Member]:
        """Members that are not left alone at this time."""
        return [member for member in self.members if now >= member.down_until]

    async def acquire(self) -> Member:
        """A server for one attempt, as soon as one has room; all are dead, the one to be tried again first."""
        loop = asyncio.get_running_loop()
        while (member := self._choose(loop.time())) is None:
            turn = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._pass_on(turn)
                raise
        member.running += 1
        return member

    def release(self, member: Member) -> None:
        """The attempt is over."""
        member.running -= 1
        self._wake()

    def _choose(self, now: float) -> Member | None:
        if len(self.members) == 1:
            return self.members[0] if self.members[0].room > 0 else None
        there = self.up(now) or [min(self.members, key=lambda member: member.down_until)]
        free = [member for member in there if member.room > 0]
        if not free:
            return None
        self._next += 1
        least = min(member.running for member in free)
        equal = [member for member in free if member.running == least]
        return equal[self._next % len(equal)]

    def _wake(self) -> None:
        room = sum(max(0, member.room) for member in self.members)
        while self._waiting and room > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def _pass_on(self, turn: asyncio.Future[None]) -> None:
        """Give up a place in the queue, or the turn that had just come."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        self._wake()
