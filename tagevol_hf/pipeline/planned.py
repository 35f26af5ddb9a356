"""What the comparisons of a run will ask and cost, said before the first of them."""

from __future__ import annotations

from typing import cast

import pyarrow.compute as pc
from datasets import Dataset

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
