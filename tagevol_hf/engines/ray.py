"""Engines on the nodes of a Ray cluster: actors that hold one each. Everything above the engine stays in this process.

Ray places the actors and carries the messages; the rows, the retries and the request store are the caller's, as with an
engine of this machine, so that results and counts are the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from types import ModuleType

from ..errors import EngineError
from .base import Reply, Request, one_by_one
from .ray_cluster import join, leave, nodes_of
from .ray_crew import Crew
from .ray_place import Place, share_of

_END = object()


class RayEngine:
    """An engine's name, answered by Ray actors that open it; itself a `SteadyEngine`.

    Each actor has a bounded number of requests, and gets new ones as its replies come, so that no engine waits for the
    end of a block. What an actor had when its process or its node died is asked again of the others, and a new actor
    takes its place.

    Args:
        spec: The engine's name, as `open_engine` takes it.
        on: Where: `ray`, `ray:auto`, `ray:HOST:PORT` or `ray://HOST:PORT`, with the options of `Place`. Every node
            needs this package in the same version, and a model folder at the same path.

    Raises:
        EngineError: If `on` cannot be read, or the engine cannot work there.
    """

    def __init__(self, spec: str, on: str) -> None:
        self._spec, self._place = spec, Place.read(on)
        if spec.startswith("batch:"):
            raise EngineError(f"engine {spec!r}: a batch API does its work elsewhere already; leave out --on")
        self._identity = ""
        self._crew: Crew | None = None

    @property
    def identity(self) -> str:
        """Identity of the engine that the actors hold, so that the store of a run without Ray answers here, too.

        Raises:
            EngineError: If there is no such cluster, or the engine cannot be opened there.
            MissingExtraError: If Ray is not installed.
        """
        if not self._identity:
            self._identity = self._working().identity
        return self._identity

    @property
    def served(self) -> dict[str, int]:
        """Requests that each actor answered."""
        return {} if self._crew is None else self._crew.served

    @property
    def pids(self) -> list[int]:
        """Processes of the actors that are there now."""
        return [] if self._crew is None else self._crew.pids

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`.

        Raises:
            EngineError: If an engine fails, or actors die again and again.
        """
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Generator[list[tuple[int, Reply]], None, None]:
        """As `SteadyEngine.arrivals`; errors as `stream`. Closing it early ends the actors."""
        crew = self._working()
        first, ended = crew.given, False
        try:
            while not ended or crew.flying:
                fresh: list[Request] = []
                while not ended and len(fresh) < crew.room and (request := next(requests, _END)) is not None:
                    if isinstance(request, Request):
                        fresh.append(request)
                    else:
                        ended = True
                crew.give(fresh)
                group = crew.news() if crew.flying else []
                if group or not ended:
                    yield [(number - first, reply) for number, reply in group]
        finally:
            if crew.flying:
                self.close()

    def close(self) -> None:
        """End the actors, and a Ray that was started for them. Safe to call twice; a later `stream` starts again."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.end()
        leave(self)

    def _working(self) -> Crew:
        if self._crew is None:
            ray = join(self._place.address, self)
            try:
                self._crew = self._called_up(ray)
            except BaseException:
                leave(self)
                raise
        return self._crew

    def _called_up(self, ray: ModuleType) -> Crew:
        share = share_of(self._place, self._spec, nodes_of(ray))
        crew = Crew(ray, self._spec, share, self._place.wait)
        try:
            crew.start()
        except BaseException:
            crew.end()
            raise
        return crew
