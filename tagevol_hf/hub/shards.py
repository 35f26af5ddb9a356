"""The Parquet files of a config: the same rows give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features

from ..errors import DataError
from .cells import RowDigest, content_digest, digests_of
from .layout import sha256_of, shard_name

SHARD_BYTES = 256 * 2**20  # of a shard before compression, at the most; a single row may be longer
_GROUP_BYTES, _GROUP_ROWS = 16 * 2**20, 2000
_BATCH = 50  # rows read at once
Clean = Callable[[int, pa.Table], pa.Table]


@dataclass(frozen=True)
class Shard:
    """One file.

    Attributes:
        path: In the repository.
        rows: Number of rows.
        sha256: Hex digest of the file.
        run: Which run made the rows, see `provenance.run_of`.
    """

    path: str
    rows: int
    sha256: str
    run: str = ""


@dataclass
class Written:
    """A config's files as they were just written, with the digests of their rows."""

    features: Features
    shards: list[Shard] = field(default_factory=list)
    rows: list[RowDigest] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The content's."""
        return content_digest(self.rows)


def write_shards(
    rows: Dataset,
    config: str,
    folder: Path,
    *,
    start: int = 0,
    shard_bytes: int = SHARD_BYTES,
    clean: Clean | None = None,
) -> Written:
    """Write a config's rows as Parquet.

    Args:
        rows: At least one.
        config: Its name.
        folder: Where `data/<config>/…` comes to stand.
        start: Number of the first shard; those before are on the Hub already.
        shard_bytes: Most bytes of a shard before compression, > 0.
        clean: Gets the number of the first row and the rows; what it gives is written.
    """
    written = Written(rows.features)
    schema = rows.features.arrow_schema
    parts: list[tuple[Path, int]] = []
    for number, groups in enumerate(_shards(rows, schema, shard_bytes)):
        parts.append((folder / f"{config}-{number}.parquet", len(written.rows)))
        folder.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(parts[-1][0], schema, compression="zstd") as writer:
            for group in groups:
                clear = group if clean is None else clean(len(written.rows), group)
                written.rows.extend(digests_of(clear))
                writer.write_table(clear, row_group_size=len(clear))
    _name(written, config, folder, parts, start)
    return written


def read_shard(path: Path) -> Iterator[pa.Table]:
    """The rows of a shard, a part at a time.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)
    except (OSError, pa.ArrowException) as fault:
        raise DataError(f"cannot be read as Parquet ({' '.join(str(fault).split())[:200]})") from None


def features_in(path: Path) -> dict[str, Any]:
    """The Features that a shard declares, as `Features.to_dict` gives them.

    Raises:
        DataError: If the file is damaged, or declares none.
    """
    try:
        schema = pq.read_schema(path)
        return dict(json.loads(schema.metadata[b"huggingface"])["info"]["features"])
    except (OSError, pa.ArrowException) as fault:
        raise DataError(f"cannot be read as Parquet ({' '.join(str(fault).split())[:200]})") from None
    except (TypeError, KeyError, ValueError):
        raise DataError("declares no Features") from None


def _name(written: Written, config: str, folder: Path, parts: list[tuple[Path, int]], start: int) -> None:
    """Give the files their names, now that their number is known."""
    ends = [first for _, first in parts[1:]] + [len(written.rows)]
    for number, ((part, first), end) in enumerate(zip(parts, ends, strict=True)):
        path = shard_name(config, start + number, start + len(parts))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        part.rename(folder / path)
        written.shards.append(Shard(path, end - first, sha256_of(folder / path)))


def _shards(rows: Dataset, schema: pa.Schema, shard_bytes: int) -> Iterator[Iterator[pa.Table]]:
    """Row groups, shard by shard; each shard is used up before the next begins."""
    groups = _Ahead(_groups(rows, schema, min(_GROUP_BYTES, shard_bytes)))
    while groups.next is not None:
        yield groups.within(shard_bytes)


class _Ahead:
    """Row groups with a look at the next one."""

    def __init__(self, groups: Iterator[pa.Table]) -> None:
        self._groups = groups
        self.next = next(groups, None)

    def within(self, limit: int) -> Iterator[pa.Table]:
        taken = 0
        while self.next is not None and (not taken or taken + self.next.nbytes <= limit):
            group, self.next = self.next, next(self._groups, None)
            taken += group.nbytes
            yield group


def _groups(rows: Dataset, schema: pa.Schema, group_bytes: int) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for batch in _batches(rows, schema, group_bytes // 8):
        full = sum(part.nbytes for part in held) + batch.nbytes > group_bytes
        if held and (full or sum(map(len, held)) + len(batch) > _GROUP_ROWS):
            yield _one(held)
            held = []
        held.append(batch)
    if held:
        yield _one(held)


def _batches(rows: Dataset, schema: pa.Schema, most: int) -> Iterator[pa.Table]:
    """Small tables; long rows come one by one, so that no shard is much longer than it may be."""
    for table in rows.with_format("arrow").iter(batch_size=_BATCH):
        table = table.cast(schema)
        if table.nbytes <= most:
            yield table
        else:
            yield from (table.slice(place, 1) for place in range(len(table)))


def _one(parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).combine_chunks()
