"""The replies of a run's shards into the run's own store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import filelock

from ..engines import store_care
from ..engines.store import RequestStore
from ..errors import DataError, EngineError
from ..run_files import writing
from ..run_folder import read_run
from .shards import read_failed, write_failed

_NAME = re.compile(r"(\d+)-of-(\d+)")
_PATIENCE = 10.0  # seconds; shards that start look at the run's lock for a moment


def merge_shards(run: Path, say: Callable[[str], None]) -> bool:
    """Copy the replies of all shards into the run's store, and what failed into `shards/failed.json`.

    It can be repeated at any time: what is there stays. A damaged shard is left out and named at the end.

    Args:
        run: The folder of the whole run.
        say: Told each shard's share, and what to do next.

    Returns:
        Whether all shards have asked all that there is to ask, so that the whole run asks nothing more.

    Raises:
        DataError: If there are no shards, or a process works on the run or on one of them; nothing is merged then.
        EngineError: If the run's store cannot be written, or shards are damaged; the others are merged then.
    """
    shards = _shards(run)
    with writing(run), ExitStack() as locks:
        locks.enter_context(_held(run, _PATIENCE))
        for shard in shards:
            locks.enter_context(_held(shard, 0))
        with closing(RequestStore(run / "store.sqlite")) as store:
            damaged = [(shard, why) for shard in shards if (why := _merge_one(shard, store, say))]
            say(f"{store.path}: {len(store):,} replies")
        _merge_failed(run, shards)
    if damaged:
        raise EngineError("; ".join(_way_out(shard, why) for shard, why in damaged))
    return _is_done(run, shards, say)


def _shards(run: Path) -> list[Path]:
    found = [(match, path) for path in run.glob("shards/*-of-*") if (match := _NAME.fullmatch(path.name))]
    if not found:
        raise DataError(f"{run}: there are no shards; ask for one by: tagevol curate RECIPE --shard 1/4")
    return [path for match, path in sorted(found, key=lambda each: (int(each[0][2]), int(each[0][1])))]


@contextmanager
def _held(folder: Path, patience: float) -> Iterator[None]:
    lock = filelock.FileLock(folder / ".lock", timeout=patience)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise DataError(
            f"{folder}: another process is working on it; merge when it has ended (nothing was merged)"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _merge_one(shard: Path, store: RequestStore, say: Callable[[str], None]) -> str:
    """What is wrong with a shard's store; "" where it was merged."""
    file = shard / "store.sqlite"
    if not file.exists():
        say(f"  {shard.name}: no store yet")
        return ""
    try:
        faults = store_care.verify(file).faults
    except EngineError as fault:
        return str(fault)
    if faults:
        return f"{sum(faults.values()):,} faults, as: {next(iter(faults))}"
    say(f"  {shard.name}: {store_care.absorb(file, store):,} new replies ({_status(shard)})")
    return ""


def _way_out(shard: Path, why: str) -> str:
    store = shard / "store.sqlite"
    return (
        f"{store}: damaged ({why}), not merged; save what can be read by: tagevol store verify {store} --rescue NEW, "
        f"and put NEW in its place, or delete {shard} and run this shard again; then merge again"
    )


def _merge_failed(run: Path, shards: list[Path]) -> None:
    every = {key: reply for folder in (run / "shards", *shards) for key, reply in read_failed(folder).items()}
    write_failed(run / "shards", every)


def _status(shard: Path) -> str:
    try:
        return str(read_run(shard).get("status", "unknown"))
    except DataError:
        return "unknown"


def _is_done(run: Path, shards: list[Path], say: Callable[[str], None]) -> bool:
    """Whether nothing is left, said with what to do next. Shards of another count are of an earlier try."""
    newest = max(shards, key=lambda shard: (shard / "run.json").stat().st_mtime if (shard / "run.json").exists() else 0)
    of = int(newest.name.partition("-of-")[2])
    states = {number: _status(run / "shards" / f"{number}-of-{of}") for number in range(1, of + 1)}
    broken = [number for number, status in states.items() if status not in ("complete", "waiting")]
    if broken:
        names = ", ".join(f"{number}/{of}" for number in broken)
        say(f"not run to their end: {names}; run them again, then merge again")
    elif "waiting" in states.values():
        say("next: every shard again, by the same command")
    else:
        say("now: tagevol curate RECIPE")
    return not broken and "waiting" not in states.values()
