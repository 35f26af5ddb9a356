"""A copy of a run's request store that can be published: consistent, in one file, without keys."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

from ..engines.store import unpacked
from ..errors import DataError
from .secrets import Secrets, published


def copy_store(run: Path, target: Path, secrets: Secrets) -> None:
    """Copy `store.sqlite` of a run folder by SQLite's backup, also while another process writes to it.

    The notes that engines keep (numbers of batches on their way) stay behind; they are of use to their owner alone.

    Raises:
        DataError: If the run has no store, it cannot be read, or a reply holds a key.
    """
    source = run / "store.sqlite"
    if not source.is_file():
        raise DataError(f"{source}: there is no store in this run folder; push without the store")
    address = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=30)) as old,
            closing(sqlite3.connect(target, isolation_level=None)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            _without_names(new)
            new.execute("VACUUM")
            _check(new, secrets)
    except sqlite3.Error as fault:
        raise DataError(f"{source}: cannot be copied ({fault}); look at it with: tagevol store verify {run}") from None


def _without_names(store: sqlite3.Connection) -> None:
    store.execute("PRAGMA secure_delete = ON")
    store.execute("DELETE FROM notes")
    for number, identity in store.execute("SELECT number, identity FROM engines").fetchall():
        if published(identity) != identity:
            store.execute("UPDATE engines SET identity = ? WHERE number = ?", (published(identity), number))


def _check(store: sqlite3.Connection, secrets: Secrets) -> None:
    for (identity,) in store.execute("SELECT identity FROM engines"):
        secrets.check_text("store.sqlite (an engine's name)", identity)
    for number, packed in store.execute("SELECT number, text FROM replies"):
        try:
            text = unpacked(packed)
        except (zlib.error, UnicodeDecodeError, TypeError):
            raise DataError(f"store.sqlite: reply {number} is damaged; look at it with: tagevol store verify") from None
        secrets.check_text(f"store.sqlite (reply {number})", text)
