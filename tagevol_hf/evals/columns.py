"""What a benchmark's records must have."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError
from .task import Record


def text_columns(task: str, records: Sequence[Record], *names: str) -> None:
    """Refuse records in which a column is missing or holds no text.

    Raises:
        DataError: With the row's number, from 0.
    """
    for number, record in enumerate(records):
        for name in names:
            if not isinstance(record.get(name), str):
                found = "missing" if name not in record else f"{record[name]!r:.40}"
                have = ", ".join(map(str, record)) or "nothing"
                raise DataError(f"{task}: row {number}: {name}: expected a text, found {found}; the row has: {have}")
