"""Open tags of a conversation turn by turn, as InsTag tags it (arXiv 2308.07074, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import REJECTION, ROW_FEATURES, Column, Row, columns_of, iterate, rows_of, with_columns
from .taggers import OpenTagger

_NEEDS = ("id", "instruction", "history")


def tag_turns(dataset: Dataset, tagger: OpenTagger) -> Dataset:
    """The data set with the open tags of every user turn, each turn in a request of its own (fan, map, fold).

    Writes `open_tags` (those of all turns, distinct, in order) and `turn_tags` (how many each turn has; InsTag's
    complexity of a conversation is their mean). A turn whose reply could not be used counts for nothing; a row none of
    whose turns could be tagged is rejected with the reason of its last one. The additional input is part of no turn.

    Args:
        dataset: Rows as `prepare` gives them.
        tagger: Asked about each turn by itself.

    Raises:
        DataError: If a column is missing.
        EngineError: If the engine fails.
    """
    missing = [name for name in _NEEDS if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"tag_turns needs the columns {', '.join(missing)}; the data set has: {', '.join(dataset.column_names)}; "
            "tagevol_hf.prepare(dataset) brings known formats into this form"
        )
    tagged = iterate(tagger.apply(_turns(dataset)).select_columns(["open_tags", "rejection"]))
    written = Features({**tagger.features, "turn_tags": List(Value("int64")), "rejection": REJECTION})
    return with_columns(dataset, lambda row: _fold(row, [next(tagged) for _ in _texts(row)]), written)


def _turns(dataset: Dataset) -> Dataset:
    """One row a user turn; none of a row that is rejected."""

    def fan(batch: Mapping[str, Sequence[Any]]) -> dict[str, Column]:
        return columns_of([turn for row in rows_of(batch) for turn in _rows(row)], ROW_FEATURES)

    have = [name for name in (*_NEEDS, "rejection") if name in dataset.column_names]
    if len(dataset) == 0:
        return Dataset.from_dict({name: [] for name in ROW_FEATURES}, features=ROW_FEATURES)
    return dataset.select_columns(have).map(
        fan, batched=True, remove_columns=have, features=ROW_FEATURES, keep_in_memory=True
    )


def _rows(row: Row) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(_texts(row), 1):
        plain: dict[str, Any] = {"instruction": text, "input": "", "response": "", "history": [], "rejection": None}
        yield {"id": f"{row['id']}/t{number}", **plain}


def _texts(row: Row) -> list[str]:
    """The user's turns, the last one last."""
    if row.get("rejection") is not None:
        return []
    before = [turn["content"] for turn in row["history"] or () if turn["role"] == "user"]
    return [*before, row["instruction"]]


def _fold(row: Row, turns: Sequence[Row]) -> dict[str, Any]:
    """The tags of a row's turns."""
    found = [turn["open_tags"] for turn in turns if turn["rejection"] is None]
    if not found:
        mark = turns[-1]["rejection"] if turns else row.get("rejection")
        return {"open_tags": None, "turn_tags": None, "rejection": mark}
    distinct: dict[str, Any] = {}
    for tag in (tag for tags in found for tag in tags):
        distinct.setdefault(tag["tag"], tag)
    return {"open_tags": list(distinct.values()), "turn_tags": [len(tags) for tags in found], "rejection": None}
