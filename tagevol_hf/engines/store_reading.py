"""Reading a request store that may be damaged, without changing it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .store import FORMAT, unpacked

_LEAST_ROW = 24  # bytes that a reply takes in the file at the least
_CHUNK = 4096
_MOST_BYTES = 2**41  # of a length that a damaged header may name
_ROW = (
    "SELECT key, text, finish_reason, prompt_tokens, completion_tokens, cached_tokens, engine, day FROM replies "
    "NOT INDEXED WHERE number BETWEEN ? AND ?"
)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, not even a damaged file; of a file that was cut, a copy of its old length."""
    with tempfile.TemporaryDirectory(prefix="tagevol-store-") as folder:
        try:
            connection = _read_only(path)
        except sqlite3.DatabaseError:
            copy = Path(shutil.copy(path, folder))
            _lengthen(copy)
            try:
                connection = _read_only(copy)
            except sqlite3.Error as fault:
                raise EngineError(f"store {path}: {fault}; its first page is lost: nothing can be read") from None
        with closing(connection):
            yield connection


def _read_only(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version not in (0, FORMAT):
            raise EngineError(f"store {path}: written by another version of tagevol_hf (format {version})")
        connection.execute("SELECT 1 FROM replies LIMIT 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _lengthen(path: Path) -> None:
    """Give a file that was cut the length that its header names: SQLite opens it then, and finds empty pages."""
    head = path.read_bytes()[:100]
    page = int.from_bytes(head[16:18], "big")
    length = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
    if path.stat().st_size < length < _MOST_BYTES:
        os.truncate(path, length)


def replies_of(connection: sqlite3.Connection, path: Path) -> Iterator[tuple[Any, ...]]:
    """Every row that can be read; ranges with a damaged page are halved until the page is found."""
    ranges = [(start, start + _CHUNK - 1) for start in range(1, _last(connection, path) + 1, _CHUNK)][::-1]
    while ranges:
        low, high = ranges.pop()
        try:
            yield from connection.execute(_ROW, (low, high)).fetchall()
        except sqlite3.DatabaseError:
            middle = (low + high) // 2
            if low < high:
                ranges += [(middle + 1, high), (low, middle)]


def _last(connection: sqlite3.Connection, path: Path) -> int:
    try:
        return int(connection.execute("SELECT max(number) FROM replies NOT INDEXED").fetchone()[0] or 0)
    except sqlite3.DatabaseError:
        return size_of(path) // _LEAST_ROW


def all_of(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Every row of a small table; none where it cannot be read."""
    try:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names
    except sqlite3.DatabaseError:
        return []


def damage_of(row: tuple[Any, ...]) -> str:
    """What is wrong with a reply's row; empty if nothing is."""
    key, text, finish_reason = row[:3]
    if not isinstance(key, bytes) or len(key) != 16 or finish_reason not in ("stop", "length"):
        return "a reply's row is damaged"
    try:
        unpacked(text)
    except (zlib.error, UnicodeDecodeError, TypeError):
        return "a reply's text is damaged"
    return ""


def size_of(path: Path) -> int:
    """Bytes of a store on disk, with its write-ahead log."""
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
