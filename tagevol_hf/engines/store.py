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
from pathlib import Path

from ..errors import EngineError
from .base import Reply

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
