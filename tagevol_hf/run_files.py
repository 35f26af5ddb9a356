"""Files of a run folder: written whole or not at all; and what to do when they cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from datasets import Dataset

from .errors import EngineError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def save_whole(dataset: Dataset, target: Path) -> None:
    """Save a data set, whole or not at all, in the place of what is there."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        dataset.save_to_disk(fresh, num_shards=None if len(dataset) else 1)  # with no shard it could not be loaded
        shutil.rmtree(target, ignore_errors=True)
        fresh.replace(target)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)  # on a full disk the room is needed
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing; only for who holds the folder's lock."""
    for stale in folder.glob(".*.[0-9]*"):
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)


def unwritable(folder: Path, fault: OSError) -> str | None:
    """A fault of writing into a run folder in one line, with what to do; None for a fault of another kind."""
    said = fault.strerror or str(fault)
    if fault.errno in _FULL or "No space left" in said:
        return (
            f"{folder}: {said}; nothing that was answered is lost: free some disk space and run the same command again"
        )
    if fault.errno in _CLOSED and str(fault.filename or folder).startswith(str(folder)):
        return f"{folder}: {said}; make the folder writable and run the same command again, or choose another by --out"
    return None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns such faults into an `EngineError` while the block runs."""
    try:
        yield
    except OSError as fault:
        said = unwritable(folder, fault)
        if said is None:
            raise
        raise EngineError(said) from fault


def is_busy(folder: Path, patience: float = 0) -> bool:
    """Whether a process works on a run folder, and still does after so many seconds."""
    if not (folder / ".lock").exists():
        return False
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        return True
    lock.release()
    return False
