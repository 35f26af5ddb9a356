"""An engine whose replies a test writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tagevol_hf.engines.base import Reply, Request


class ScriptedEngine:
    """Answers each request by a function; counts what it was asked.

    Args:
        answer: The reply of a request, or its text.
        identity: As `Engine.identity`.
    """

    def __init__(self, answer: Callable[[Request], Reply | str], identity: str = "scripted") -> None:
        self.identity = identity
        self.requests: list[Request] = []
        self.closed = 0
        self._answer = answer

    @property
    def asked(self) -> int:
        return len(self.requests)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        for position, request in enumerate(requests):
            self.requests.append(request)
            reply = self._answer(request)
            yield position, Reply(reply) if isinstance(reply, str) else reply

    def close(self) -> None:
        self.closed += 1
