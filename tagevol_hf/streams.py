"""Rows of a stream on disk, shard by shard: what is there is not fetched again, and memory does not grow.

A stream cannot be counted, shuffled or read twice, as pools, clusters and selections need. So its rows are written as
they come, and mapped into memory from there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import filelock
from datasets import Dataset, IterableDataset, concatenate_datasets, load_from_disk

from .errors import DataError, one_line

SHARD_ROWS = 20_000
_SHARD_BYTES = 64 * 2**20  # of the rows' texts, about; a shard is in memory while it is written
_AT_ONCE = 200  # rows between two looks at the size
_STATE, _MARK, _END = "stream.json", "source.json", "end.json"


def spool(stream: IterableDataset, folder: str | Path, *, limit: int | None = None, source: str = "") -> Dataset:
    """The rows of a stream as a `Dataset` on disk; a call that broke off goes on at the shard.

    Args:
        stream: Where the rows come from; one that keeps its state (`state_dict`) is not read again from the beginning.
        folder: Where the shards are kept. What another source left there is thrown away.
        limit: Only the first so many rows; a later call with more fetches the rest.
        source: What the stream is, so that another one is told from it: its name, revision, size, ….

    Raises:
        DataError: If the folder cannot be written, or the stream breaks off.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / ".lock"):
            _begin(place, source)
            shards = _shards(place)
            have = sum(_rows(shard) for shard in shards)
            if not (place / _END).exists() and (limit is None or have < limit):
                _fetch(stream, place, shards, have, limit)
            shards = _shards(place)
    except OSError as fault:
        raise DataError(f"{place}: {fault.strerror or fault}; what was fetched is kept, run the same again") from fault
    parts = [load_from_disk(str(shard)) for shard in shards]
    whole = concatenate_datasets(parts) if parts else Dataset.from_dict({})
    return whole if limit is None else whole.select(range(min(limit, len(whole))))


def _begin(place: Path, source: str) -> None:
    """Make the folder ready for this source."""
    mark = place / _MARK
    if mark.exists() and _read(mark).get("source") == source:
        return
    for shard in place.glob("[0-9]*"):
        shutil.rmtree(shard)
    (place / _END).unlink(missing_ok=True)
    _write(mark, {"source": source})


def _fetch(stream: IterableDataset, place: Path, shards: list[Path], have: int, limit: int | None) -> None:
    state = _read(shards[-1] / _STATE).get("state") if shards else None
    if state is not None:
        stream.load_state_dict(state)
    elif have:
        stream = stream.skip(have)
    number, rows = len(shards), iter(stream)
    while limit is None or have < limit:
        try:
            part = _part(rows, SHARD_ROWS if limit is None else min(SHARD_ROWS, limit - have))
        except Exception as fault:  # whatever the library behind the stream raises
            line = one_line(fault, 300)
            raise DataError(f"the stream broke off ({line}); {have:,} rows are kept: run the same again") from fault
        if not part:
            _write(place / _END, {"rows": have})
            return
        _keep(part, stream, place / f"{number:06d}")
        number, have = number + 1, have + len(part)


def _part(rows: Iterator[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The next rows, until they are many or large."""
    found: list[dict[str, Any]] = []
    size = 0
    while len(found) < most and size < _SHARD_BYTES:
        more = list(islice(rows, min(_AT_ONCE, most - len(found))))
        if not more:
            break
        found += more
        size += sum(len(value) for row in more for value in row.values() if isinstance(value, (str, list)))
    return found


def _keep(rows: list[dict[str, Any]], stream: IterableDataset, shard: Path) -> None:
    """Write a shard, whole or not at all."""
    fresh = shard.with_name(f".{shard.name}.{os.getpid()}")
    Dataset.from_list(rows, features=stream.features).save_to_disk(str(fresh), num_shards=1)
    _write(fresh / _STATE, {"rows": len(rows), "state": stream.state_dict()})
    fresh.rename(shard)


def _shards(place: Path) -> list[Path]:
    """The whole shards, in order; half-written ones have other names, and are taken away."""
    for torn in place.glob(".[0-9]*"):
        shutil.rmtree(torn)
    return sorted(place.glob("[0-9]*"))


def _rows(shard: Path) -> int:
    rows = _read(shard / _STATE).get("rows")
    if not isinstance(rows, int):
        raise DataError(
            f"{shard}: a damaged shard of a stream; delete the folder {shard.parent} and run the same again"
        )
    return rows


def _read(file: Path) -> dict[str, Any]:
    try:
        body = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _write(file: Path, body: dict[str, Any]) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(json.dumps(body), encoding="utf-8")
    fresh.replace(file)
