"""Rows that are too long for training, and the refusal of rows that would teach nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from datasets import Dataset

from ..errors import DataError, RecipeError
from .spans import MASKED

LONG_ROWS = ("truncate", "drop")


@dataclass(frozen=True, slots=True)
class Encoding:
    """What encoding a data set gave.

    Attributes:
        rows: Rows left to train on.
        tokens: Tokens in one pass over them, prompts included, after truncation.
        learned_tokens: Those of them that have a label.
        over_long: Rows with more than `max_length` tokens.
        dropped: How many of these were left out instead of being cut at their end.
        longest: Tokens of the longest row before truncation.
    """

    rows: int
    tokens: int
    learned_tokens: int
    over_long: int
    dropped: int
    longest: int

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def fit_to_length(encoded: Dataset, max_length: int | None, long_rows: str) -> tuple[Dataset, Encoding]:
    """Cut or drop what is longer than `max_length` tokens; every row left must teach something.

    Args:
        encoded: Result of `encode`.
        max_length: In tokens; None sets no limit.
        long_rows: "truncate" cuts a long row at its end, "drop" leaves it out.

    Raises:
        RecipeError: If `long_rows` is not one of the two.
        DataError: If a row has no label left (the message names it), or no row is left.
    """
    if long_rows not in LONG_ROWS:
        raise RecipeError(f"long_rows: expected one of {', '.join(LONG_ROWS)}, got {long_rows!r}")
    lengths = [len(ids) for ids in encoded["input_ids"]]
    limit = max_length if max_length is not None else max(lengths, default=0)
    long = [index for index, length in enumerate(lengths) if length > limit]
    kept = encoded
    if long and long_rows == "drop":
        kept = encoded.select([index for index, length in enumerate(lengths) if length <= limit])
    elif long:
        kept = encoded.map(_cut, fn_kwargs={"limit": limit}, load_from_cache_file=False, keep_in_memory=True)
    learned = [sum(label != MASKED for label in labels) for labels in kept["labels"]]
    _check_labels(kept, learned, limit)
    dropped = len(encoded) - len(kept)
    tokens = sum(len(ids) for ids in kept["input_ids"])
    return kept, Encoding(len(kept), tokens, sum(learned), len(long), dropped, max(lengths, default=0))


def _cut(row: dict[str, Any], limit: int) -> dict[str, Any]:
    return {"input_ids": row["input_ids"][:limit], "labels": row["labels"][:limit]}


def _check_labels(kept: Dataset, learned: list[int], limit: int) -> None:
    if not learned:
        raise DataError(f"no row is left to train on: all exceed max_length: {limit} tokens; raise it")
    empty = [index for index, count in enumerate(learned) if count == 0]
    if empty:
        raise DataError(
            f"row {kept[empty[0]]['id']!r}: no token of its response is within max_length: {limit} tokens, "
            f"so it would teach nothing ({len(empty)} such rows); raise max_length, or set long_rows: drop"
        )
