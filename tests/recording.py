"""An engine that keeps what went through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tagevol_hf.engines.base import Engine, Reply, Request


class RecordingEngine:
    """Passes everything on to another engine and keeps each request with its reply."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.identity = inner.identity
        self.seen: list[tuple[Request, Reply]] = []

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        asked: dict[int, Request] = {}

        def kept() -> Iterator[Request]:
            for position, request in enumerate(requests):
                asked[position] = request
                yield request

        for position, reply in self.inner.stream(kept()):
            self.seen.append((asked.pop(position), reply))
            yield position, reply

    def close(self) -> None:
        """The inner engine belongs to somebody else."""
