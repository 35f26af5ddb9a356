"""Columns of a data set that may be missing, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from datasets import Dataset

from .values import list_of, number_of
from .words import cut

_BATCH = 10_000


def tables(dataset: Dataset | None, *names: str) -> Iterator[pa.Table]:
    """The columns in batches; nothing if there is no data set or it lacks one of them."""
    if dataset and set(names) <= set(dataset.column_names):
        yield from dataset.select_columns(list(names)).with_format("arrow").iter(batch_size=_BATCH)


def numbers(dataset: Dataset | None, name: str) -> list[float]:
    """The numbers of a column, in order; what is none is left out."""
    values = (value for table in tables(dataset, name) for value in table.column(name).to_pylist())
    return [number for value in values if (number := number_of(value)) is not None]


def texts(value: Any, most: int = 24) -> tuple[str, ...]:
    """Short texts of a list, for chips."""
    return tuple(cut(item, 80, 80).head for item in list_of(value)[:most] if item)
