"""Random rows whose responses are as long as those of a selection, to tell apart what length alone does."""

from __future__ import annotations

import math
from collections.abc import Sequence

from datasets import Dataset

from ..errors import DataError
from ..rows import iterate, seed_for

_BINS = 8  # bins of length for each doubling


def length_matched(pool: Dataset, chosen: Dataset, seed: int = 42) -> Dataset:
    """Rows of the pool drawn at random so that their responses are as long as the chosen ones, in characters.

    Lengths fall into bins, eight for each doubling; each bin gives as many rows as the chosen rows have in it. What it
    lacks (only where chosen rows are not the pool's) is made up by the nearest bins. Chosen rows
    may be drawn like all others; where they are all of their length, the control is the selection itself.

    Args:
        pool: With `id` and `response`; rejected rows are not drawn.
        chosen: With `response`.
        seed: With the rows' ids it decides the draw, whatever the order of the rows.

    Raises:
        DataError: If a column is missing.
    """
    demand("pool", pool, ("id", "response"))
    demand("chosen", chosen, ("response",))
    bins = _bins(pool, seed)
    sizes = [_bin(len(text or "")) for text in chosen["response"]]
    taken: list[int] = []
    short: list[int] = []
    for number in sorted(sizes):
        if bins.get(number):
            taken.append(bins[number].pop())
        else:
            short.append(number)
    for number in short:
        filled = [other for other, places in bins.items() if places]
        if filled:
            taken.append(bins[min(filled, key=lambda other: (abs(other - number), other))].pop())
    return pool.select(sorted(taken))


def _bins(pool: Dataset, seed: int) -> dict[int, list[int]]:
    """Places of the pool's good rows by bin, the one to be drawn first at the end."""
    have = [name for name in ("id", "response", "rejection") if name in pool.column_names]
    bins: dict[int, list[tuple[int, str, int]]] = {}
    for place, row in enumerate(iterate(pool.select_columns(have))):
        if row.get("rejection") is None:
            ticket = (seed_for(seed, row["id"], "length_matched"), row["id"], place)
            bins.setdefault(_bin(len(row["response"] or "")), []).append(ticket)
    return {number: [place for _, _, place in sorted(tickets, reverse=True)] for number, tickets in bins.items()}


def _bin(size: int) -> int:
    return round(_BINS * math.log2(1 + size))


def demand(name: str, dataset: Dataset, needs: Sequence[str]) -> None:
    """Raise a `DataError` if a column is missing."""
    missing = [column for column in needs if column not in dataset.column_names]
    if missing:
        have = ", ".join(dataset.column_names) or "none"
        raise DataError(f"compare_selections: {name} needs the column {missing[0]}; it has: {have}")
