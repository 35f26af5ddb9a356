"""Asks an engine about rows until each has a usable reply or no attempt left; the retries run among the rest."""

from __future__ import annotations

import gc
import itertools
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager

from .engines.base import Reply, Request
from .engines.stored import StoredEngine
from .errors import EngineError, ParseError
from .rows import Row

_KEY_BYTES = 16  # of the request's key: its end, as much as the store compares
_NOT_ASKED = 2**16 - 1
_SELDOM = (50_000, 20, 100)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for reference cycles less often while the block runs.

    Thousands of requests in flight make Python's collector walk over all loaded libraries again and again: a third of
    the time of a fast server's answers. Nothing here leaves cycles behind.
    """
    before = gc.get_threshold()
    if before[0] == 0 or before[0] >= _SELDOM[0]:  # switched off by the user, or seldom already
        yield
        return
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Answers:
    """Where the last reply of each row is: 18 bytes a row, the texts stay in the store.

    Attributes:
        failures: Replies with an error, by the row's position; no store keeps them.
    """

    def __init__(self, engine: StoredEngine) -> None:
        self._engine = engine
        self._keys = bytearray()
        self._draws = array("H")
        self.failures: dict[int, Reply] = {}

    def add_row(self) -> None:
        """Make place for the next row."""
        self._keys.extend(bytes(_KEY_BYTES))
        self._draws.append(_NOT_ASKED)

    def settle(self, position: int, key: str, draw: int, reply: Reply) -> None:
        """Note the last reply of a row."""
        self._keys[position * _KEY_BYTES : (position + 1) * _KEY_BYTES] = bytes.fromhex(key[-2 * _KEY_BYTES :])
        self._draws[position] = draw
        if reply.finish_reason == "error":
            self.failures[position] = reply

    def last(self, places: range) -> list[tuple[Reply, int]]:
        """For each of these rows its last reply, and how often it was asked (0 for a row that never was).

        Raises:
            EngineError: If the store does not have a reply any more.
        """
        asked = [place for place in places if self._draws[place] != _NOT_ASKED and place not in self.failures]
        kept = self._engine.store.get_all([self._key(place) for place in asked])
        found = dict(zip(asked, kept, strict=True))
        found |= {place: self.failures[place] for place in places if place in self.failures}
        lost = next((place for place, reply in found.items() if reply is None), None)
        if lost is not None:
            raise EngineError(
                f"the reply for row {lost} is not in {self._engine.store.path} any more; "
                "was the store changed while the run went on? Run the same command again"
            )
        return [(found.get(place) or Reply(""), (self._draws[place] + 1) % (_NOT_ASKED + 1)) for place in places]

    def _key(self, place: int) -> str:
        return self._keys[place * _KEY_BYTES : (place + 1) * _KEY_BYTES].hex()


class Asking:
    """One pass over rows.

    Args:
        engine: Who is asked.
        request: The question for a row at a draw.
        read: Reads a reply; raises `ParseError` where it cannot be used.
        attempts: How often a row is asked at the most.
    """

    def __init__(
        self,
        engine: StoredEngine,
        request: Callable[[Row, int], Request],
        read: Callable[[Row, Reply], object],
        attempts: int,
    ) -> None:
        self._engine, self._request, self._read, self._attempts = engine, request, read, attempts
        self._again: deque[tuple[int, Row, int]] = deque()
        self._flying: dict[int, tuple[int, Row, int]] = {}  # by number of the request: (position, row, draw)
        self.answers = Answers(engine)

    def run(self, rows: Iterable[Row], advance: Callable[[], None]) -> Answers:
        """Ask about all rows but those that are rejected already; `advance` is called once for each row."""
        with seldom_collected(), closing(self._engine.answers(self._questions(iter(rows), advance))) as groups:
            for number, key, reply in itertools.chain.from_iterable(groups):
                position, row, draw = self._flying.pop(number)
                if draw + 1 < self._attempts and self._useless(row, reply):
                    self._again.append((position, row, draw + 1))
                    continue
                self.answers.settle(position, key, draw, reply)
                advance()
        return self.answers

    def _questions(self, rows: Iterator[Row], advance: Callable[[], None]) -> Iterator[Request | None]:
        """Retries first, then new rows; pauses while only replies in flight can bring more."""
        position, number, ended = -1, 0, False
        while True:
            if self._again:
                asked = self._again.popleft()
            elif not ended and (row := next(rows, None)) is not None:
                position += 1
                self.answers.add_row()
                if row.get("rejection") is not None:
                    advance()
                    continue
                asked = position, row, 0
            elif self._flying:
                ended = True
                yield None
                continue
            else:
                return
            self._flying[number] = asked
            number += 1
            yield self._request(asked[1], asked[2])

    def _useless(self, row: Row, reply: Reply) -> bool:
        if reply.finish_reason == "error":
            return False  # the engine has tried
        try:
            self._read(row, reply)
        except ParseError as fault:
            self._engine.usage.redrawn[fault.reason] += 1
            return True
        return False
