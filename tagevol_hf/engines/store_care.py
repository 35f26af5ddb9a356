"""Looking after a request store: what it holds, whether it is whole, what can be saved of it, and making it smaller."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError
from .store import RequestStore
from .store_reading import all_of, damage_of, reading, replies_of, size_of

_PUT_ONE = (
    "INSERT OR IGNORE INTO replies (key, text, finish_reason, prompt_tokens, completion_tokens, cached_tokens, engine, "
    "day) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
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
    return StoreInfo(path, size_of(path), shares, notes)


def verify(path: Path) -> Verdict:
    """Read every page and every reply.

    Raises:
        EngineError: If there is no store, or not even its first page can be read.
    """
    verdict = Verdict()
    with reading(existing(path)) as connection:
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        except sqlite3.DatabaseError as fault:
            found = [str(fault)]
        verdict.faults.update(text for text in found if text != "ok")
        for row in replies_of(connection, path):
            damage = damage_of(row)
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
    with reading(existing(path)) as old, closing(RequestStore(fresh)) as store, _writing(store) as new:
        notes = all_of(old, "notes")
        if notes:
            new.executemany("INSERT OR IGNORE INTO notes VALUES (?, ?)", notes)
        return _copy_replies(old, path, new)


def absorb(path: Path, store: RequestStore) -> int:
    """Copy every reply of another store that this one does not have; gives their number. Notes stay where they are.

    Raises:
        EngineError: If there is no other store, or this one cannot be written.
    """
    with reading(existing(path)) as old, _writing(store) as new:
        return _copy_replies(old, path, new)


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
            counted = connection.execute(f"SELECT count(*) FROM replies WHERE {where}", values)  # noqa: S608 - conditions of this file
            return int(counted.fetchone()[0])
        count = connection.execute(f"DELETE FROM replies WHERE {where}", values).rowcount  # noqa: S608 - as above
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
def _writing(store: RequestStore) -> Iterator[sqlite3.Connection]:
    """A store's connection in one transaction."""
    with store.faults():
        connection = store.connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _copy_replies(old: sqlite3.Connection, path: Path, new: sqlite3.Connection) -> int:
    """Every reply that can be read; each store numbers its engines by itself."""
    numbers = {}
    for number, identity in all_of(old, "engines"):
        new.execute("INSERT OR IGNORE INTO engines (identity) VALUES (?)", (identity,))
        (numbers[number],) = new.execute("SELECT number FROM engines WHERE identity = ?", (identity,)).fetchone()
    count = 0
    for row in replies_of(old, path):
        if not damage_of(row):
            count += new.execute(_PUT_ONE, (*row[:6], numbers.get(row[6], row[6]), row[7])).rowcount
    return count
