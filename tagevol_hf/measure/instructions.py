"""The rows that are measured, and their groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..errors import DataError
from ..rows import Row
from .measures import ALL

PARTS = ("instruction", "input", "history", "response")  # the columns that `parts_of` reads
Groups = Mapping[str, Sequence[int]]

_READ = ("id", "instruction", "input", "seed_instruction", "budget", "candidates", "chosen_tags", "seed_tags")


def accepted_rows(dataset: Dataset) -> tuple[Dataset, list[str]]:
    """The rows that count, sorted by id so that not even a rounding depends on their order; notes on the others.

    Raises:
        DataError: If a column is missing, or there is no such row.
    """
    demand(dataset, ("id", "instruction"))
    marks = dataset["rejection"] if "rejection" in dataset.column_names else [None] * len(dataset)
    good: list[tuple[str, int]] = []
    blank = 0
    for place, (row_id, text, mark) in enumerate(zip(dataset["id"], dataset["instruction"], marks, strict=True)):
        if mark is None and text and text.strip():
            good.append((row_id, place))
        else:
            blank += mark is None
    if not good:
        raise DataError(
            f"measure: expected at least one accepted instruction, got none in {len(dataset)} rows; "
            "look at their rejections"
        )
    counts = {"rejected": len(dataset) - len(good) - blank, "without an instruction": blank}
    notes = [f"Rows {why} are left out: {count:,}." for why, count in counts.items() if count]
    return dataset.select([place for _, place in sorted(good)]), notes


def demand(dataset: Dataset, names: Sequence[str], who: str = "measure") -> None:
    """Raise a `DataError` if a column is missing."""
    missing = [name for name in names if name not in dataset.column_names]
    if missing:
        have = ", ".join(dataset.column_names) or "none"
        raise DataError(f"{who} needs the column {missing[0]}; the data set has: {have}")


def columns(dataset: Dataset) -> dict[str, list[Any]]:
    """Those of the columns that measures read and the data set has."""
    return {name: list(dataset[name]) for name in _READ if name in dataset.column_names}


def whole_texts(rows: Mapping[str, list[Any]]) -> list[str]:
    """Each instruction with its input."""
    given = rows.get("input") or [None] * len(rows["instruction"])
    return [f"{text}\n\n{more}" if more else text for text, more in zip(rows["instruction"], given, strict=True)]


def parts_of(row: Row, column: str) -> list[str]:
    """The texts that "response", or "instruction" with its input and the turns before it, stands for; none is empty."""
    if column == "response":
        return [row["response"]] if row["response"] else []
    turns = [turn["content"] for turn in row.get("history") or ()]
    return [text for text in (*turns, row["instruction"], row.get("input")) if text]


def grouped(dataset: Dataset, by: str) -> dict[str, list[int]]:
    """Places of the rows of each group: "all" first, then the column's values in order, rows without one last."""
    groups: dict[Any, list[int]] = {}
    for place, value in enumerate(dataset[by] if by else ()):
        groups.setdefault(value, []).append(place)
    order = sorted(groups, key=lambda value: (value is None, str(type(value)), value or 0))
    named = {f"no {by}" if value is None else f"{by} {value}": groups[value] for value in order}
    return {ALL: list(range(len(dataset))), **named}
