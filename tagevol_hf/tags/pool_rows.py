"""A tag pool as a data set: one row a tag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import iterate
from .pool_table import Cells, Counts, Gathering, Table

POOL_FEATURES = Features(
    {
        "tag": Value("string"),
        "count": Value("int64"),
        "aspects": List({"aspect": Value("string"), "rows": Value("int64")}),
        "sources": List({"source": Value("string"), "rows": Value("int64")}),
        "seeds": List(
            {"source": Value("string"), "id": Value("string"), "aspect": Value("string"), "rows": Value("int64")}
        ),
    }
)


def pool_dataset(table: Table) -> Dataset:
    """The tags with their counts and seed rows; `rows` of a seed row is 1 where it has an id.

    Raises:
        DataError: If a name holds half of a character (a lone surrogate), which a data set cannot keep.
    """
    try:
        columns = _columns(table)
    except UnicodeEncodeError as fault:
        raise DataError(f"tag pool: {fault.object!r:.80} cannot be stored in a data set ({fault.reason})") from None
    schema = POOL_FEATURES.arrow_schema
    return Dataset(pa.table({name: columns[name] for name in schema.names}).cast(schema))


def table_from_dataset(dataset: Dataset) -> Table:
    """The pool in a data set; `tag` and `seeds` say all of it.

    Raises:
        DataError: If there are no such columns, or no tag.
    """
    if not {"tag", "seeds"} <= set(dataset.column_names):
        raise DataError(f"not a tag pool (expected the columns tag and seeds, got: {', '.join(dataset.column_names)})")
    found = Gathering()
    try:
        for row in iterate(dataset.select_columns(["tag", "seeds"])):
            for seed in row["seeds"]:
                found.add(row["tag"], seed["aspect"], (seed["source"], seed["id"]), seed["rows"])
        table = found.table()
    except (KeyError, TypeError, OverflowError) as fault:
        raise DataError(f"not a tag pool (the columns tag and seeds hold something else: {fault!r})") from None
    if not table.tags:
        raise DataError("the tag pool has no tag; make it from rows that have tags")
    return table


def _columns(table: Table) -> dict[str, Any]:
    sources = table.by_source()
    tag, aspect, seed, rows = table.cells
    seeds = {
        "source": _taken([source for source, _ in table.seeds], seed),
        "id": _taken([row_id for _, row_id in table.seeds], seed),
        "aspect": _taken(table.aspects, aspect),
        "rows": pa.array(rows.astype(np.int64)),
    }
    return {
        "tag": pa.array(table.tags, type=pa.string()),
        "count": pa.array([sources.total(place) for place in range(len(table.tags))], type=pa.int64()),
        "aspects": _counted("aspect", table.by_aspect()),
        "sources": _counted("source", sources),
        "seeds": _lists(np.searchsorted(tag, np.arange(len(table.tags) + 1)), seeds),
    }


def _counted(name: str, counts: Counts) -> Any:
    return _lists(counts.starts, {name: _taken(counts.names, counts.keys), "rows": pa.array(counts.numbers)})


def _taken(names: Any, places: Cells) -> Any:
    return pa.array(list(names), type=pa.string()).take(pa.array(places.astype(np.int64)))


def _lists(starts: Cells, fields: dict[str, Any]) -> Any:
    """A list of objects for each tag."""
    objects = pa.StructArray.from_arrays(list(fields.values()), names=list(fields))
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), objects)
