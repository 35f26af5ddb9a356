"""The actors of one engine on a Ray cluster: who has which request, whose process died, what is ready."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from .. import __version__
from ..errors import EngineError, one_line
from .base import Reply, Request
from .ray_actor import EngineActor, Hello, News
from .ray_cluster import nodes_of
from .ray_place import WAIT, Share, environment, too_small

_PATIENCE = 5.0  # seconds for the other actors to start, so that short work is shared out, too
_DEATHS = 3  # of actors that had the same request, or that did not come so far as to have one


@dataclass
class Worker:
    """One actor, as the caller's process sees it.

    Attributes:
        actor: Ray's handle.
        told: What it is expected to tell next: its `Hello` first, then its `News`.
        name: For the account; empty until its hello.
        pid: Its process.
        has: Its requests, by number.
    """

    actor: Any
    told: Any
    name: str = ""
    pid: int = 0
    has: dict[int, Request] = field(default_factory=dict)


class Crew:
    """All actors of one engine.

    Args:
        ray: Ray, connected.
        spec: The engine's name.
        share: How many actors, and what each gets.
        wait: Seconds for the cluster to make room for the first one; None for the default.

    Attributes:
        identity: Of the engine, after `start`.
        given: How many requests were given so far; the number of the next one.
        served: Requests answered, by the actor's name.
    """

    def __init__(self, ray: ModuleType, spec: str, share: Share, wait: float | None) -> None:
        self._ray, self._spec, self._share, self._wait = ray, spec, share, wait or WAIT
        options = {"num_cpus": share.cpus, "num_gpus": share.gpus, "max_restarts": 0, "max_concurrency": 3}
        self._kind = ray.remote(EngineActor).options(**options)
        self._workers: list[Worker] = []
        self._homeless: deque[tuple[int, Request]] = deque()  # their actor died
        self._deaths: Counter[int] = Counter()  # by number of a request
        self._stillborn = 0
        self.identity = ""
        self.given = 0
        self.served: dict[str, int] = {}

    @property
    def room(self) -> int:
        """How many more requests may be given now."""
        ready = sum(1 for worker in self._workers if worker.name)
        return max(0, ready * self._share.in_flight - self.flying)

    @property
    def flying(self) -> int:
        """Requests that were given and not answered."""
        return len(self._homeless) + sum(len(worker.has) for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """Processes of the actors that are ready."""
        return [worker.pid for worker in self._workers if worker.name]

    def start(self) -> None:
        """Start the actors, and wait until the first one is there; for the others only a moment.

        Raises:
            EngineError: If its engine cannot be opened, or the cluster has no room for it.
        """
        self._workers = [self._hired() for _ in range(self._share.actors)]
        while not self.identity:
            self._listen(self._wait)
        end = time.monotonic() + _PATIENCE
        while len(self.pids) < len(self._workers) and (left := end - time.monotonic()) > 0:
            self._listen(left)

    def give(self, requests: Iterable[Request]) -> None:
        """Share requests out to the actors with the least to do."""
        fresh = [(number, request) for number, request in enumerate(requests, self.given)]
        self.given += len(fresh)
        self._deal([*self._homeless, *fresh])

    def news(self) -> list[tuple[int, Reply]]:
        """The replies that became ready, with their requests' numbers; waits for one.

        Raises:
            EngineError: If an engine fails, or actors die again and again.
        """
        group: list[tuple[int, Reply]] = []
        while not group:
            group = self._listen(None if self.pids else self._wait)
            if self._homeless:
                self._deal(list(self._homeless))
        return group

    def end(self) -> None:
        """End the actors."""
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()

    def _hired(self) -> Worker:
        actor = self._kind.remote(self._spec, environment())
        return Worker(actor, actor.hello.remote())

    def _deal(self, requests: list[tuple[int, Request]]) -> None:
        ready = [worker for worker in self._workers if worker.name]
        self._homeless = deque(requests if not ready else ())
        if not ready or not requests:
            return
        level = -(-(len(requests) + sum(len(worker.has) for worker in ready)) // len(ready))
        ready.sort(key=lambda worker: len(worker.has))
        for worker in ready:
            size = max(0, level - len(worker.has))
            block, requests = requests[:size], requests[size:]
            if block:
                worker.has.update(block)
                worker.actor.add.remote(block)
        self._homeless.extend(requests)

    def _listen(self, seconds: float | None) -> list[tuple[int, Reply]]:
        """Wait for the next word of any actor, and hear all that have something to tell."""
        by_word = {worker.told: worker for worker in self._workers}
        words = list(by_word)
        heard, _ = self._ray.wait(words, timeout=seconds)
        if not heard and not self.pids:
            raise EngineError(
                f"{too_small(self._share.gpus, self._share.cpus, nodes_of(self._ray))}; none was free for "
                f"{self._wait:g} s: end what else runs there, or ask for less, as --on 'ray?cpus=1&gpus=0'"
            )
        heard, _ = self._ray.wait(words, num_returns=len(words), timeout=0)
        return [pair for word in heard for pair in self._hear(by_word[word])]

    def _hear(self, worker: Worker) -> list[tuple[int, Reply]]:
        try:
            word = self._ray.get(worker.told)
        except self._ray.exceptions.RayActorError as fault:
            self._bury(worker, fault)
            return []
        except self._ray.exceptions.RayError as fault:
            raise EngineError(f"{self._spec} on Ray: {one_line(fault)}") from None
        if isinstance(word, Hello):
            self._greet(worker, word)
            return []
        return self._read(worker, word)

    def _greet(self, worker: Worker, hello: Hello) -> None:
        if hello.fault:
            raise EngineError(f"on the Ray node {hello.node}: {hello.fault}")
        if hello.version != __version__:
            raise EngineError(
                f"the Ray node {hello.node} has tagevol_hf {hello.version}, this process {__version__}; make them equal"
            )
        self.identity = self.identity or hello.identity
        if hello.identity != self.identity:
            raise EngineError(
                f"the Ray node {hello.node} has another model for {self._spec}: {hello.identity}, elsewhere "
                f"{self.identity}; put the same one on every node"
            )
        worker.name, worker.pid = f"{hello.node} process {hello.pid}", hello.pid
        self._stillborn = 0
        worker.told = worker.actor.take.remote()

    def _read(self, worker: Worker, news: News) -> list[tuple[int, Reply]]:
        if news.fault:
            raise EngineError(f"on the Ray node {worker.name.partition(' ')[0]}: {news.fault}")
        for number, _ in news.replies:
            del worker.has[number]
            self._deaths.pop(number, None)
        self.served[worker.name] = self.served.get(worker.name, 0) + len(news.replies)
        worker.told = worker.actor.take.remote()
        return news.replies

    def _bury(self, worker: Worker, fault: Exception) -> None:
        """Put a new actor in the place of a dead one; what that had is given out again."""
        self._deaths.update(worker.has.keys())
        self._stillborn += not worker.name
        worst = max((self._deaths[number] for number in worker.has), default=0)
        if max(worst, self._stillborn) >= _DEATHS:
            what = "the same requests" if worst >= _DEATHS else "the start"
            raise EngineError(
                f"{self._spec} on Ray: {_DEATHS} actors died of {what}; the last: {one_line(fault)}. Is there enough "
                "memory on the nodes, and tagevol_hf installed? What was answered is kept: the same command goes on"
            )
        self._homeless.extend(worker.has.items())
        self._workers.remove(worker)
        self._workers.append(self._hired())
