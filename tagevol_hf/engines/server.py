"""Any OpenAI-compatible server, or a pool of them that serve one model."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from ..errors import EngineError
from .background import BackgroundLoop
from .base import Reply, Request, one_by_one
from .client import Client
from .identity import model_identity
from .pool import Pool
from .spec import positive, split_address, unknown_option

_GROUP_SECONDS = 0.002  # between two groups of replies: each one wakes the caller's thread and is one transaction
_END = object()
_OPTIONS: dict[str, type[int] | type[float]] = {"concurrency": int, "timeout": float, "retries": int, "backoff": float}


class ServerEngine:
    """Chat completions of OpenAI-compatible servers; connects at the first request.

    The key is read from `TAGEVOL_API_KEY`, else `OPENAI_API_KEY`, at the first request, and kept nowhere else.
    `stream` pulls its requests in the caller's thread; the network has a thread of its own, so it also works where
    a loop is running already, as in Jupyter.

    Args:
        urls: Base URL, or several of servers with the same model; they end in `/v1` as a rule.
        model: The model's name there; None to ask for it, where exactly one is served.
        concurrency: Most requests in flight at each server, >= 1; lowered while a server answers 429, 503 or too late.
        timeout: Seconds that one attempt may take.
        retries: How often a request is asked again after a fault of the network or the server, at the most.
        backoff: Seconds before the first of these, doubled each time.

    Raises:
        EngineError: If a URL or an option is not valid.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        model: str | None = None,
        *,
        concurrency: int = 256,
        timeout: float = 600.0,
        retries: int = 6,
        backoff: float = 0.5,
    ) -> None:
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._arguments: dict[str, Any] = {
            "concurrency": concurrency,
            "timeout": timeout,
            "retries": retries,
            "backoff": backoff,
        }
        self._pool = Pool([_checked(url) for url in self._urls], concurrency)
        self._concurrency = concurrency
        self._model = model or None
        self._connection: _Connection | None = None

    @classmethod
    def from_spec(cls, spec: str) -> ServerEngine:
        """The engine of `URL[,URL…][?option=value&…][#MODEL]`; the options may also stand behind the model.

        Raises:
            EngineError: If the spec cannot be read.
        """
        urls, model, options = split_address(spec)
        for name in options:
            if name in ("api_key", "key", "token"):
                raise EngineError(f"engine {urls!r}: a key is not given here; set TAGEVOL_API_KEY in the environment")
            if name not in _OPTIONS:
                raise unknown_option(urls, name, _OPTIONS)
        read = {name: positive(urls, name, value, _OPTIONS[name]) for name, value in options.items()}
        return cls(
            [url.strip() for url in urls.split(",") if url.strip()],
            model,
            concurrency=int(read.get("concurrency", 256)),
            timeout=read.get("timeout", 600.0),
            retries=int(read.get("retries", 6)),
            backoff=read.get("backoff", 0.5),
        )

    def __reduce__(self) -> tuple[Callable[[], ServerEngine], tuple[()]]:
        return partial(ServerEngine, self._urls, self._model, **self._arguments), ()

    @property
    def model(self) -> str:
        """The model's name at the server; asks for it where it was not given.

        Raises:
            EngineError: If it must be asked for and there is not exactly one, or no server answers.
        """
        if self._model is None:
            names = self._connected().models()
            if len(names) != 1:
                raise EngineError(
                    f"{self._urls[0]}: the server has {len(names)} models ({', '.join(names[:20]) or 'none'}); "
                    f"name one: {self._urls[0]}#{names[0] if names else 'MODEL'}"
                )
            self._model = names[0]
        return self._model

    @property
    def identity(self) -> str:
        """The model's name; for a model folder of this machine its content, as `vllm:` has it."""
        name = self.model
        return model_identity(name) if Path(name).is_absolute() and Path(name).is_dir() else name

    @property
    def served(self) -> dict[str, int]:
        """Requests that each server answered, by URL."""
        return {member.url: member.served for member in self._pool.members}

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`. Closing the iterator cancels what is in flight.

        Raises:
            EngineError: If no server can be reached, or the key or the model is refused.
        """
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Iterator[list[tuple[int, Reply]]]:
        """As `SteadyEngine.arrivals`; errors as `stream`."""
        asking: _Asking | None = None
        position, flying, room, ended = 0, 0, self._concurrency * len(self._urls), False
        try:
            while not ended or flying:
                fresh: list[tuple[int, Request]] = []
                while not ended and flying + len(fresh) < room and (request := next(requests, _END)) is not None:
                    if isinstance(request, Request):
                        fresh.append((position, request))
                        position += 1
                    else:
                        ended = True
                if fresh:
                    asking = asking or _Asking(self._connected(), self.model)
                    asking.start(fresh)
                    flying += len(fresh)
                group = asking.next() if asking is not None and flying else []
                flying -= len(group)
                if group or not ended:
                    yield group
        finally:
            if asking is not None:
                asking.cancel()

    def close(self) -> None:
        """Close the connections and end the thread. Safe to call twice; a later `stream` connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> _Connection:
        if self._connection is None:
            self._connection = _Connection(self._client())
            weakref.finalize(self, self._connection.close)
        return self._connection

    async def _client(self) -> Client:
        given = self._arguments
        return Client(self._pool, given["timeout"], given["retries"], given["backoff"])


class _Connection:
    """A client and the thread that it lives in."""

    def __init__(self, client: Coroutine[Any, Any, Client]) -> None:
        self.loop = BackgroundLoop("tagevol-server")
        self.client = self.loop.call(client)

    def models(self) -> list[str]:
        return self.loop.call(self.client.models())

    def close(self) -> None:
        self.loop.close(self.client.close)


class _Asking:
    """The requests of one stream: started from the caller's thread, answered in the loop's, in groups both ways."""

    def __init__(self, connection: _Connection, model: str) -> None:
        self._connection, self._model = connection, model
        self._groups: SimpleQueue[list[tuple[int, Reply | BaseException]]] = SimpleQueue()
        self._fault: BaseException | None = None
        # All below is touched in the loop's thread only.
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[tuple[int, Reply | BaseException]] = []
        self._last_group = 0.0
        self._group_due = False

    def start(self, requests: list[tuple[int, Request]]) -> None:
        """Have requests asked; does not wait."""
        if not self._connection.loop.soon(self._spawn, requests):
            raise EngineError("the engine was closed while it was answering")

    def next(self) -> list[tuple[int, Reply]]:
        """The replies that became ready since the last call; waits for one. A fault comes after them."""
        if self._fault is not None:
            raise self._fault
        group: list[tuple[int, Reply]] = []
        for position, outcome in self._groups.get():
            if isinstance(outcome, Reply):
                group.append((position, outcome))
            else:
                self._fault = self._fault or outcome
        return group or self.next()

    def cancel(self) -> None:
        """Forget what is still in flight."""
        self._connection.loop.soon(self._cancel)

    def _spawn(self, requests: list[tuple[int, Request]]) -> None:
        for position, request in requests:
            task = asyncio.ensure_future(self._ask(position, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    async def _ask(self, position: int, request: Request) -> None:
        try:
            self._hand_over(position, await self._connection.client.ask(self._model, request))
        except asyncio.CancelledError:
            self._hand_over(position, EngineError("the engine was closed while it was answering"))
            raise
        except Exception as fault:  # raised again in the caller's thread
            self._hand_over(position, fault)

    def _hand_over(self, position: int, outcome: Reply | BaseException) -> None:
        """Give an outcome to the caller's thread, at once or together with those of the next milliseconds."""
        self._done.append((position, outcome))
        if not self._group_due:
            self._group_due = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._last_group + _GROUP_SECONDS), self._send_group)

    def _send_group(self) -> None:
        self._groups.put(self._done)
        self._done, self._group_due = [], False
        self._last_group = asyncio.get_running_loop().time()


def _checked(url: str) -> str:
    """A base URL without a slash at its end.

    Raises:
        EngineError: If it is not an HTTP URL, or holds a password.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise EngineError(f"server {parts.hostname}: a key is not given here; set TAGEVOL_API_KEY in the environment")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(f"server {url!r}: expected http(s)://HOST:PORT/v1")
    return url.rstrip("/")
