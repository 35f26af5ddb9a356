"""Looking after a request store: what it holds, whether it is whole, what can be saved of it, and making it smaller."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .store import FORMAT, RequestStore, unpacked

_LEAST_ROW = 24  # bytes that a reply takes in the file at the least
_CHUNK = 4096
_MOST_BYTES = 2**41  # of a length that a damaged header may name
_ROW = (
    "SELECT key, text, finish_reason, prompt_tokens, completion_tokens, cached_tokens, engine, day FROM replies "
    "NOT INDEXED WHERE number BETWEEN ? AND ?"
)


@dataclass(frozen=True)
class EngineShare:
    """What one engine gave.

    Attributes:
        identity: The engine's identity; empty where it was not told.
        cut_off: Replies that ended at `max_tokens`.
        prompt_tokens: Sum over all replies; likewise the next.
        first_day: Day of the oldest reply, as YYYY-MM-DD; likewise the last.
    """

    identity: str
    replies: int
    cut_off: int
    prompt_tokens: int
    completion_tokens: int
    first_day: str
    last_day: str


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds.

    Attributes:
        bytes: Size on disk, with SQLite's write-ahead log.
        notes: Names of what engines keep beside the replies, such as batches on their way.
    """

    path: Path
    bytes: int
    engines: list[EngineShare]
    notes: list[str]

    @property
    def replies(self) -> int:
        """All replies."""
        return sum(share.replies for share in self.engines)


@dataclass
class Verdict:
    """What a check of every reply found.

    Attributes:
        readable: Replies that can be read.
        faults: What is wrong, by its text, with how often.
    """

    readable: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def info(path: Path) -> StoreInfo:
    """What a store holds.

    Raises:
        EngineError: If there is no store, or it cannot be read.
    """
    store = RequestStore(existing(path))
    with store.faults(), closing(store):
        rows = store.connection().execute(
            "SELECT identity, count(*), sum(finish_reason = 'length'), sum(prompt_tokens), sum(completion_tokens), "
            "date(min(day) * 86400, 'unixepoch'), date(max(day) * 86400, 'unixepoch') "
            "FROM replies LEFT JOIN engines ON engines.number = engine GROUP BY engine ORDER BY 2 DESC, 1"
        )
        shares = [EngineShare(identity or "", *rest) for identity, *rest in rows]
        notes = list(store.notes(""))
    return StoreInfo(path, _size(path), shares, notes)


def verify(path: Path) -> Verdict:
    """Read every page and every reply.

    Raises:
        EngineError: If there is no store, or not even its first page can be read.
    """
    verdict = Verdict()
    with _reading(existing(path)) as connection:
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        except sqlite3.DatabaseError as fault:
            found = [str(fault)]
        verdict.faults.update(text for text in found if text != "ok")
        for row in _rows(connection, path):
            damage = _damage(row)
            if damage:
                verdict.faults[damage] += 1
            else:
                verdict.readable += 1
    return verdict


def rescue(path: Path, fresh: Path) -> int:
    """Copy every reply and note that can be read into a new store; gives the number of replies.

    Raises:
        EngineError: If the new file exists, or nothing of the old one can be read.
    """
    if fresh.exists():
        raise EngineError(f"store {fresh}: exists already; name a new file")
    count = 0
    with _reading(existing(path)) as old, closing(RequestStore(fresh)) as store, store.faults():
        new = store.connection()
        new.execute("BEGIN IMMEDIATE")
        for table in ("engines", "notes"):
            rows = _all(old, table)
            if rows:
                new.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - our own names
        for row in _rows(old, path):
            if _damage(row):
                continue
            count += new.execute(
                "INSERT OR IGNORE INTO replies (key, text, finish_reason, prompt_tokens, completion_tokens, "
                "cached_tokens, engine, day) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            ).rowcount
        new.execute("COMMIT")
    return count


def prune(
    path: Path, *, engine: str | None = None, older_than: int | None = None, cut_off: bool = False, dry: bool = False
) -> int:
    """Delete the replies that meet every given condition, and give the space back; gives their number.

    Args:
        path: The store's file.
        engine: Only replies of this identity.
        older_than: Only replies that are more than so many days old.
        cut_off: Only replies that ended at `max_tokens`.
        dry: Only count.

    Raises:
        EngineError: If no condition is given, there is no store, no such engine, or another process holds it.
    """
    if engine is None and older_than is None and not cut_off:
        raise EngineError("prune: name what is to go: an engine, an age in days, or the replies that were cut off")
    conditions, values = ["1"], []
    if engine is not None:
        known = [share.identity for share in info(path).engines]
        if engine not in known:
            raise EngineError(f"store {path}: holds nothing of engine {engine!r}; it has: {', '.join(known) or 'none'}")
        conditions.append("engine = (SELECT number FROM engines WHERE identity = ?)")
        values.append(engine)
    if older_than is not None:
        conditions.append("day < ?")
        values.append(str(int(time.time() // 86400) - older_than))
    if cut_off:
        conditions.append("finish_reason = 'length'")
    where = " AND ".join(conditions)
    store = RequestStore(existing(path))
    with closing(store), store.faults():
        connection = store.connection()
        if dry:
            counted = connection.execute(f"SELECT count(*) FROM replies WHERE {where}", values)  # noqa: S608
            return int(counted.fetchone()[0])
        count = connection.execute(f"DELETE FROM replies WHERE {where}", values).rowcount  # noqa: S608
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return count


def existing(path: Path) -> Path:
    """The store's file: the path itself, or `store.sqlite` in a run folder.

    Raises:
        EngineError: If there is none; looking at a store never makes one.
    """
    found = path / "store.sqlite" if path.is_dir() else path
    if not found.is_file():
        raise EngineError(f"{found}: there is no store; expected a run folder or a store's file")
    return found


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
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


def _rows(connection: sqlite3.Connection, path: Path) -> Iterator[tuple[Any, ...]]:
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
        return _size(path) // _LEAST_ROW


def _all(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names
    except sqlite3.DatabaseError:
        return []


def _damage(row: tuple[Any, ...]) -> str:
    """What is wrong with a reply's row; empty if nothing is."""
    key, text, finish_reason = row[:3]
    if not isinstance(key, bytes) or len(key) != 16 or finish_reason not in ("stop", "length"):
        return "a reply's row is damaged"
    try:
        unpacked(text)
    except (zlib.error, UnicodeDecodeError, TypeError):
        return "a reply's text is damaged"
    return ""


def _size(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
