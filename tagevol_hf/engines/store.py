"""The request store: one SQLite file in which every reply is durable before anybody sees it.

It is the only cache of the project. The key of a reply is `Request.key`: the engine's identity, messages, sampling,
schema and draw number; so an edited prompt asks again, and another batch size or a restart does not.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError
from .base import Engine, Reply, Request

_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY, text BLOB NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL
) WITHOUT ROWID
"""


class RequestStore:
    """Replies by request key, in one file; safe for several processes and threads, survives `kill -9`.

    Args:
        path: The SQLite file; made with its folders where it does not exist.

    Raises:
        EngineError: If the file is damaged, of another version, locked or not writable.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._local = threading.local()
        self._connection()

    @classmethod
    def temporary(cls) -> RequestStore:
        """A store in a temporary folder that goes with the object."""
        folder = tempfile.TemporaryDirectory(prefix="tagevol-store-", ignore_cleanup_errors=True)
        store = cls(Path(folder.name) / "store.sqlite")
        weakref.finalize(store, folder.cleanup)
        return store

    def get(self, key: str) -> Reply | None:
        """The stored reply of a request key, or None."""
        row = self._run("SELECT * FROM replies WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        if row is None:
            return None
        try:
            text = zlib.decompress(row[1]).decode("utf-8", "surrogatepass")
        except (zlib.error, UnicodeDecodeError) as fault:
            raise EngineError(self._advice(f"a reply cannot be read ({fault})")) from None
        return Reply(text, row[2], row[3], row[4], row[5])

    def put(self, key: str, reply: Reply) -> None:
        """Store one reply; durable against the end of the process when this returns. The first one stays."""
        packed = zlib.compress(reply.text.encode("utf-8", "surrogatepass"), 3)
        self._run(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)",
            (
                bytes.fromhex(key),
                packed,
                reply.finish_reason,
                reply.prompt_tokens,
                reply.completion_tokens,
                reply.cached_tokens,
            ),
        )

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM replies", ()).fetchone()[0])

    def close(self) -> None:
        """Close this thread's connection; the store can be used again after that."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
        self._local.connection = None

    def _run(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._connection().execute(statement, values)
        except sqlite3.Error as fault:
            raise EngineError(self._advice(str(fault))) from None

    def _connection(self) -> sqlite3.Connection:
        local = self._local
        if getattr(local, "connection", None) is None or local.pid != os.getpid():
            local.connection, local.pid = self._open(), os.getpid()
        connection: sqlite3.Connection = local.connection
        return connection

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise EngineError(
                    f"store {self.path}: written by another version of tagevol_hf (format {version}, expected "
                    f"{_VERSION}); use that version, or another store file"
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if version == 0:
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, OSError) as fault:
            raise EngineError(self._advice(str(fault))) from None
        return connection

    def _advice(self, fault: str) -> str:
        way_on = "move the file away to start a new one (its replies are then asked again)"
        if "locked" in fault:
            way_on = "another process holds it; end that one or wait"
        elif "readonly" in fault or "denied" in fault or "unable to open" in fault:
            way_on = "make the file and its folder writable, or choose another run folder"
        elif "full" in fault:
            way_on = "free some disk space and run the same command again"
        return f"store {self.path}: {fault}; {way_on}"


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
