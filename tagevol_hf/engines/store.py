"""The request store: one SQLite file in which every reply is durable before anybody sees it.

It is the only cache of the project. The key of a reply is `Request.key`: the engine's identity, messages, sampling,
schema and draw number; so an edited prompt asks again, and another batch size or a restart does not.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .base import Reply

FORMAT = 2
# Replies are appended, so that those of neighbouring rows lie near each other; the index holds half of each key.
_TABLES = """
CREATE TABLE replies (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, text BLOB NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    engine INTEGER NOT NULL, day INTEGER NOT NULL
);
CREATE TABLE engines (number INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = "key, text, finish_reason, prompt_tokens, completion_tokens, cached_tokens, engine, day"
_GET = "SELECT key, text, finish_reason, prompt_tokens, completion_tokens, cached_tokens FROM replies WHERE key IN "
_PUT = f"INSERT OR IGNORE INTO replies ({_COLUMNS}) VALUES "  # noqa: S608 - names of our own
_AT_ONCE = 100  # keys or replies in one statement; each statement hands the interpreter to another thread
_SHORT = 512  # bytes of a text below which compression does not pay
_SETTINGS = (
    "PRAGMA synchronous = NORMAL",  # survives the end of the process at any moment; a power cut may lose the newest
    "PRAGMA wal_autocheckpoint = 4000",  # pages
    "PRAGMA cache_size = -8192",  # KiB
)
_WAIT_SECONDS = 30.0  # for another process that is writing


class RequestStore:
    """Replies by request key, in one file; safe for several processes and threads, survives `kill -9`.

    Args:
        path: The SQLite file; made with its folders where it does not exist.
        base: A store that is looked into for what this one does not have, and never written.

    Raises:
        EngineError: If the file is damaged, of another version, locked or not writable.
    """

    def __init__(self, path: str | Path, base: RequestStore | None = None) -> None:
        self.path, self._base = Path(path), base
        self._local = threading.local()
        self.connection()

    @classmethod
    def temporary(cls) -> RequestStore:
        """A store in a temporary folder that goes with the object."""
        folder = tempfile.TemporaryDirectory(prefix="tagevol-store-", ignore_cleanup_errors=True)
        store = cls(Path(folder.name) / "store.sqlite")
        weakref.finalize(store, folder.cleanup)
        return store

    def get(self, key: str) -> Reply | None:
        """The stored reply of a request key, or None."""
        return self.get_all([key])[0]

    def get_all(self, keys: Sequence[str]) -> list[Reply | None]:
        """The stored replies of request keys, None for those that are not there."""
        found: dict[bytes, Reply] = {}
        halves = [_half(key) for key in keys]
        for start in range(0, len(halves), _AT_ONCE):
            part = halves[start : start + _AT_ONCE]
            statement = _GET + _places(1, len(part))
            try:
                rows = self.connection().execute(statement, part).fetchall()
            except sqlite3.Error as fault:
                raise EngineError(advice(self.path, str(fault))) from None
            found.update((row[0], self._reply(row)) for row in rows)
        if self._base is not None and len(found) < len(halves):
            missing = [key for key, half in zip(keys, halves, strict=True) if half not in found]
            there = zip(missing, self._base.get_all(missing), strict=True)
            found.update((_half(key), reply) for key, reply in there if reply is not None)
        return [found.get(half) for half in halves]

    def put(self, key: str, reply: Reply, engine: str = "") -> Reply:
        """Store one reply, as `put_all`."""
        return self.put_all([(key, reply)], engine)[0]

    def put_all(self, replies: Sequence[tuple[str, Reply]], engine: str = "") -> list[Reply]:
        """Store replies by key; durable against the end of the process when this returns.

        Args:
            replies: Request keys with their replies.
            engine: Identity of the engine that gave them.

        Returns:
            What the store holds for each key now: where another process was first, its reply.
        """
        number, day = self._engine_number(engine), int(time.time() // 86400)
        held: list[Reply] = []
        for start in range(0, len(replies), _AT_ONCE):
            part = replies[start : start + _AT_ONCE]
            values = [value for key, reply in part for value in (_half(key), *_packed(reply), number, day)]
            with self.faults():  # one statement is one transaction
                added = self.connection().execute(_PUT + _places(len(part), 8), values).rowcount
            held += [reply for _, reply in part] if added == len(part) else self._held(part)
        return held

    def _held(self, replies: Sequence[tuple[str, Reply]]) -> list[Reply]:
        """What is there for keys of which another process wrote some before."""
        found = self.get_all([key for key, _ in replies])
        return [there or reply for there, (_, reply) in zip(found, replies, strict=True)]

    def note(self, name: str) -> str | None:
        """A text that an engine keeps beside the replies, such as the number of a submitted batch; None if none."""
        with self.faults():
            row = self.connection().execute("SELECT text FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, name: str, text: str | None) -> None:
        """Keep a text under a name, or forget it (None); durable when this returns, even if the power fails."""
        connection = self.connection()
        with self.faults():
            connection.execute("PRAGMA synchronous = FULL")
            try:
                if text is None:
                    connection.execute("DELETE FROM notes WHERE name = ?", (name,))
                else:
                    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text))
            finally:
                connection.execute("PRAGMA synchronous = NORMAL")

    def notes(self, prefix: str) -> dict[str, str]:
        """All notes whose names begin so, by name."""
        with self.faults():
            rows = self.connection().execute(
                "SELECT name, text FROM notes WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
            )
            return {str(name): str(text) for name, text in rows}

    def __len__(self) -> int:
        with self.faults():
            return int(self.connection().execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close this thread's connection; the store can be used again after that."""
        connection = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()
        self._local.connection = None
        if self._base is not None:
            self._base.close()

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turns what SQLite says into an `EngineError` with a way on."""
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise EngineError(advice(self.path, str(fault))) from None

    def connection(self) -> sqlite3.Connection:
        """This thread's connection in this process."""
        local = self._local
        if getattr(local, "connection", None) is None or local.pid != os.getpid():
            with self.faults():
                local.connection, local.pid, local.engines = self._open(), os.getpid(), {}
        connection: sqlite3.Connection = local.connection
        return connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
        if format_of(connection) == 0:
            _create(connection)
        found = format_of(connection)
        if found != FORMAT:
            connection.close()
            raise EngineError(
                f"store {self.path}: written by another version of tagevol_hf (format {found}, expected {FORMAT}); "
                "use that version, or another store file"
            )
        _use_wal(connection)
        for setting in _SETTINGS:
            connection.execute(setting)
        return connection

    def _engine_number(self, identity: str) -> int:
        connection = self.connection()
        known: dict[str, int] = self._local.engines
        if identity not in known:
            with self.faults():
                connection.execute("INSERT OR IGNORE INTO engines (identity) VALUES (?)", (identity,))
                row = connection.execute("SELECT number FROM engines WHERE identity = ?", (identity,)).fetchone()
            known[identity] = int(row[0])
        return known[identity]

    def _reply(self, row: tuple[Any, ...]) -> Reply:
        try:
            return Reply(unpacked(row[1]), *row[2:])
        except (zlib.error, UnicodeDecodeError, TypeError) as fault:
            raise EngineError(advice(self.path, f"a reply cannot be read, the file is malformed ({fault})")) from None


def advice(path: Path, fault: str) -> str:
    """A fault of a store in one line, with what to do."""
    way_on = (
        "move the file away to start a new one (its replies are then asked again), after saving what can be read by: "
        f"tagevol store verify {path} --rescue NEW"
    )
    if "locked" in fault:
        way_on = "another process holds it; end that one or wait"
    elif "readonly" in fault or "denied" in fault or "unable to open" in fault:
        way_on = "make the file and its folder writable, or choose another run folder"
    elif "full" in fault or "No space" in fault:
        way_on = "free some disk space and run the same command again"
    elif "disk I/O" in fault:
        way_on = "the disk is full or does not answer; with that mended the same command goes on"
    elif "no such table" in fault or "not a database" in fault:
        way_on = "move the file away to start a new one"
    return f"store {path}: {fault}; {way_on}"


def format_of(connection: sqlite3.Connection) -> int:
    """The version of a store's tables; 0 where there are none."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables, unless another process does so at the same moment."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if format_of(connection) == 0:
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change to the write-ahead log once; SQLite does not wait for other processes by itself here."""
    until = time.monotonic() + _WAIT_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as fault:  # noqa: PERF203 - it waits anyway
            if "locked" not in str(fault) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _half(key: str) -> bytes:
    """The last 128 bits of a SHA-256: enough to tell requests apart, and half the index."""
    return bytes.fromhex(key[-32:])


def _packed(reply: Reply) -> tuple[bytes, str, int, int, int]:
    """The values of a reply's row; the text's first byte says whether it is compressed."""
    text = reply.text.encode("utf-8", "surrogatepass")
    packed = b"\0" + text if len(text) < _SHORT else b"\1" + zlib.compress(text, 1)
    return packed, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens


def unpacked(packed: bytes) -> str:
    """The text of a reply's row.

    Raises:
        zlib.error, UnicodeDecodeError, TypeError: If it is damaged.
    """
    text = packed[1:] if packed[:1] == b"\0" else zlib.decompress(packed[1:])
    return text.decode("utf-8", "surrogatepass")


@lru_cache(maxsize=256)
def _places(rows: int, columns: int) -> str:
    """Placeholders of SQL: as many rows in parentheses, of as many columns."""
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)
