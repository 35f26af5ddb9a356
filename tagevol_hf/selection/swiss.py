"""The next round of a Swiss tournament: rows of near scores meet, and nobody twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .pairing import Pair, pair_of
from .plans import regular_links

Met = set[Pair]


def has_rounds(size: int, rounds: int) -> bool:
    """Whether a cluster is big enough that each of so many rounds finds new partners for all.

    A row has up to rounds + 1 former partners, so at most rounds + 2 rows are left over, and at most 2 * (rounds + 1)
    pairs cannot change places with two of them; beyond this size there are more. Smaller clusters are compared by the
    k-regular plan at once: there nearly all meet anyway.
    """
    return size > 5 * rounds + 8


def first_round(ids: Sequence[str]) -> list[Pair]:
    """Everybody meets one other; of an odd number one meets two."""
    return [pair_of(ids[first], ids[second]) for first, second in regular_links(len(ids), 1)]


def next_round(ids: Sequence[str], met: Met, twice: Mapping[str, int]) -> list[Pair]:
    """Pairs of the next round, ceil(len(ids) / 2) of them, none of which has met before.

    Of an odd number, the last row meets the nearest of those that were least often in two pairs of a round, and this
    one then meets another as well.

    Args:
        ids: The rows of a cluster by descending score.
        met: All pairs that have met.
        twice: How often a row was in two pairs of one round.
    """
    met = set(met)
    if len(ids) % 2 == 0:
        return _matched(ids, met)
    *others, lone = ids
    free = [at for at, other in enumerate(others) if pair_of(lone, other) not in met]
    host = others[min(free, key=lambda at: (twice.get(others[at], 0), -at))]
    met.add(pair_of(lone, host))
    return [pair_of(lone, host), *_matched(others, met)]


def _matched(ids: Sequence[str], met: Met) -> list[Pair]:
    """Each row with the next free one below it that it has not met; who is left over changes places with others."""
    waiting = list(ids)
    found: list[Pair] = []
    stuck: list[str] = []
    while waiting:
        one = waiting.pop(0)
        place = next((at for at, other in enumerate(waiting) if pair_of(one, other) not in met), None)
        if place is None:
            stuck.append(one)
        else:
            found.append((one, waiting.pop(place)))
    for one, two in zip(stuck[::2], stuck[1::2], strict=True):
        _exchange(one, two, found, met)
    return [pair_of(*pair) for pair in found]


def _exchange(one: str, two: str, found: list[Pair], met: Met) -> None:
    """Two rows that have met each other take the partners of another pair, the latest that can be had."""
    for place in range(len(found) - 1, -1, -1):
        for mine, yours in (found[place], found[place][::-1]):
            if pair_of(one, mine) not in met and pair_of(two, yours) not in met:
                found[place : place + 1] = [(one, mine), (two, yours)]
                return
    raise AssertionError("a cluster of this size has partners for all")  # see has_rounds
