"""What the comparisons of a run will ask and cost, said before the first of them."""

from __future__ import annotations

from typing import cast

import pyarrow.compute as pc
from datasets import Dataset

from ..errors import DataError
from ..progress import announce
from ..prompts import Prompt
from ..selection.compare import Comparer
from .journey import Journey

_CHARACTERS = 4  # of a token, about
_ANSWER = 250  # tokens of a comparison's reply, about: four sentences and fourteen marks


def say_planned(journey: Journey, comparer: Comparer, first: Dataset, total: int) -> None:
    """Say how many comparisons there will be, and about how many tokens and how much money they take.

    Args:
        journey: The run.
        comparer: The stage that will ask.
        first: Pair-rows of the first round, or of all; their texts stand for those of later rounds.
        total: Number of comparisons, exact but for replies that must be asked for again.
    """
    shared = len(cast(Prompt, comparer.prompt).shared) * total
    texts = sum(pc.sum(pc.utf8_length(first.data.column(name))).as_py() or 0 for name in comparer.needs)
    prompts = round((shared + texts * total / max(1, len(first))) / _CHARACTERS)
    line = f"compare: {total:,} comparisons planned, about {prompts + total * _ANSWER:,} tokens"
    prices = journey.recipe.prices_of("compare")
    if prices is not None:
        line += f", cost about {prices.of(prompts, total * _ANSWER):,.4g}"
    announce(f"{line} (those already in the store cost nothing)")


def say_unanswered(step: str, rows: Dataset) -> None:
    """Say before the first request how many rows have no response to be judged.

    Args:
        step: Who would judge them.
        rows: What comes in.

    Raises:
        DataError: If no row has one, as when the data's column of responses has a name of its own.
    """
    empty = pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(rows.data.column("response"))), 0)).as_py() or 0
    empty += rows.data.column("response").null_count
    if 0 < empty == len(rows):
        raise DataError(
            f"{step}: none of the {len(rows):,} rows has a response to be judged; name the data's column by "
            "data.columns, as {response: answer}, or put the step respond before"
        )
    if empty:
        announce(f"{step}: {empty:,} of {len(rows):,} rows have no response, and are judged as they are")
