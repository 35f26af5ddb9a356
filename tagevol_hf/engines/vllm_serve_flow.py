"""The requests of one stream over several servers, one after the other: none is lost, none is answered twice."""

from __future__ import annotations

from collections.abc import Iterator

from .base import Reply, Request


class Flow:
    """Requests on their way.

    Args:
        requests: As `SteadyEngine.arrivals` takes them.

    Attributes:
        unanswered: By position, what was pulled and has no reply yet.
        ended: Whether all requests were pulled.
        broken: Whether the requests' own source raised an error.
    """

    def __init__(self, requests: Iterator[Request | None]) -> None:
        self._requests = requests
        self._pulled = 0
        self._positions: dict[int, int] = {}  # by the number that the present server's client has for a request
        self.unanswered: dict[int, Request] = {}
        self.ended = self.broken = False

    def pull(self) -> Request | None:
        """The next request; None at a pause and at the end."""
        try:
            request = next(self._requests)
        except StopIteration:
            self.ended = True
            return None
        except BaseException:
            self.broken = True
            raise
        if request is not None:
            self.unanswered[self._pulled] = request
            self._pulled += 1
        return request

    def feed(self) -> Iterator[Request | None]:
        """All for a fresh server: what is unanswered, then the rest with its pauses."""
        self._positions = dict(enumerate(self.unanswered))
        count = len(self._positions)
        yield from tuple(self.unanswered.values())
        while not self.ended:
            request = self.pull()
            if request is not None:
                self._positions[count] = self._pulled - 1
                count += 1
            if not self.ended:
                yield request

    def answered(self, group: list[tuple[int, Reply]]) -> list[tuple[int, Reply]]:
        """A group of the present client's replies, with the positions of their requests."""
        answers = [(self._positions.pop(number), reply) for number, reply in group]
        for position, _ in answers:
            del self.unanswered[position]
        return answers
