"""Figures of comparisons in both orders: wins, ties, flips, and what place and length do to a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import DataError
from .result import interval

Verdict = Literal["win", "tie", "lose"]
Interval = tuple[float, float]

# How the verdicts of the two orders become one.
RULES = ("majority", "conservative")

_SIGN: dict[Verdict, int] = {"win": 1, "tie": 0, "lose": -1}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a judge said about two answers.

    Attributes:
        id: Of the pair.
        orders: Of the first answer: the verdict when it was shown first and, where the judge was asked again with the
            answers swapped, the one when it was shown second. None is a verdict that could not be read.
        lengths: Of both answers, in characters; None where the texts are not at hand.
    """

    id: str
    orders: tuple[Verdict | None, ...]
    lengths: tuple[int, int] | None = None

    @property
    def swapped(self) -> bool:
        """Whether both orders were judged and can be read."""
        return len(self.orders) == 2 and None not in self.orders

    @property
    def flipped(self) -> bool:
        """Whether each order lets the other answer win."""
        return set(self.orders) == {"win", "lose"}

    def verdict(self, rule: str = "majority") -> Verdict | None:
        """One verdict of all orders.

        Args:
            rule: "majority": an answer wins if it wins in both orders, or in one and ties in the other (AlpaGasus,
                arXiv 2307.08701, and Cherry, 2308.12032); "conservative": only if it wins in both, all else is a tie
                (MT-Bench, arXiv 2306.05685, section 3.4).

        Returns:
            The first answer's; None where an order cannot be read.
        """
        signs = [_SIGN[order] for order in self.orders if order is not None]
        if not signs or len(signs) < len(self.orders):
            return None
        total = sum(signs) if rule == "majority" or len(set(signs)) == 1 else 0
        return "win" if total > 0 else "lose" if total < 0 else "tie"


@dataclass(frozen=True, slots=True)
class Preference:
    """How often the first model's answers are preferred to the second's.

    Attributes:
        comparisons: One for each pair.
        verdicts: The verdict of each, by the rule; None where there is none.
        rule: One of `RULES`.
        win: Pairs that the first model wins.
        tie: Pairs that neither does.
        lose: Pairs that the second does.
        n: Pairs with a verdict.
        n_expected: Pairs that were to be judged.
        unreadable: Single judgments without a readable verdict; a pair has one or two.
        win_rate: Share of wins, a tie counting half, from 0 to 1.
        interval: 95 % interval of the win rate; None for a single pair.
        n_swapped: Pairs with a readable verdict in both orders, on which the next three figures rest.
        flip_rate: Share of these in which each order lets the other answer win; None if there are none.
        change_rate: Share of these in which the verdicts of the orders differ at all, ties included; None likewise.
        position_bias: Share of the decided single judgments that the answer in the first place wins, minus 0.5: from
            -0.5 (always the second place) to 0.5 (always the first); None if nothing was decided.
        length_bias: Share of the decided pairs with answers of different length that the longer one (in characters)
            wins; None if there are none.
        length_interval: 95 % interval (Wilson's) of it.
        n_length: Pairs on which it rests.
    """

    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict | None, ...]
    rule: str
    win: int
    tie: int
    lose: int
    n: int
    n_expected: int
    unreadable: int
    win_rate: float
    interval: Interval | None
    n_swapped: int
    flip_rate: float | None
    change_rate: float | None
    position_bias: float | None
    length_bias: float | None
    length_interval: Interval | None
    n_length: int

    def figures(self) -> dict[str, Any]:
        """All but the single pairs, as plain JSON values."""
        names = [name for name in self.__slots__ if name not in ("comparisons", "verdicts")]
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def preference(
    comparisons: Sequence[Comparison],
    *,
    rule: str = "majority",
    incomplete: str = "refuse",
    n_expected: int | None = None,
) -> Preference:
    """Sum up comparisons, just made or read by `judgments.read_reviews`.

    Args:
        comparisons: One for each pair.
        rule: "majority" or "conservative"; see `Comparison.verdict`.
        incomplete: "refuse" or "allow" that pairs have no verdict.
        n_expected: Pairs that were to be judged; by default as many as there are.

    Raises:
        DataError: If no pair has a verdict; or if one has none, and this is not allowed.
        ValueError: If there is no such rule, or no such choice.
    """
    check_choices(rule, incomplete)
    verdicts = tuple(one.verdict(rule) for one in comparisons)
    count = Counter(verdict for verdict in verdicts if verdict is not None)
    n, expected = count.total(), len(comparisons) if n_expected is None else n_expected
    unreadable = sum(order is None for one in comparisons for order in one.orders)
    _check_complete(n, expected, unreadable, incomplete)
    both = [one for one in comparisons if one.swapped]
    longer = _longer_wins(comparisons, verdicts)
    return Preference(
        comparisons=tuple(comparisons),
        verdicts=verdicts,
        rule=rule,
        win=count["win"],
        tie=count["tie"],
        lose=count["lose"],
        n=n,
        n_expected=expected,
        unreadable=unreadable,
        win_rate=(count["win"] + count["tie"] / 2) / n,
        interval=interval([(_SIGN[verdict] + 1) / 2 for verdict in verdicts if verdict is not None]),
        n_swapped=len(both),
        flip_rate=_share([one.flipped for one in both]),
        change_rate=_share([len(set(one.orders)) > 1 for one in both]),
        position_bias=_position_bias(both),
        length_bias=_share(longer),
        length_interval=interval([float(won) for won in longer]),
        n_length=len(longer),
    )


def check_choices(rule: str, incomplete: str) -> None:
    """Refuse what is no rule and no choice.

    Raises:
        ValueError: With what there is.
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {rule!r}")
    if incomplete not in ("refuse", "allow"):
        raise ValueError(f"incomplete: expected refuse or allow, got {incomplete!r}")


def _check_complete(n: int, expected: int, unreadable: int, incomplete: str) -> None:
    if n == 0 or (n < expected and incomplete == "refuse"):
        hint = "; figures of this part are given with incomplete=allow" if n else ""
        raise DataError(
            f"pairs: only {n:,} of {expected:,} have a verdict ({unreadable:,} single judgments unreadable){hint}"
        )


def _share(held: Sequence[bool]) -> float | None:
    return sum(held) / len(held) if held else None


def _position_bias(both: Sequence[Comparison]) -> float | None:
    """Only of pairs that were shown both ways, so that the better model is in either place as often."""
    won = [order == ("win", "lose")[place] for one in both for place, order in enumerate(one.orders) if order != "tie"]
    share = _share(won)
    return None if share is None else share - 0.5


def _longer_wins(comparisons: Sequence[Comparison], verdicts: Sequence[Verdict | None]) -> list[bool]:
    """For each decided pair of different lengths whether the longer answer wins."""
    return [
        (verdict == "win") == (one.lengths[0] > one.lengths[1])
        for one, verdict in zip(comparisons, verdicts, strict=True)
        if verdict in ("win", "lose") and one.lengths is not None and one.lengths[0] != one.lengths[1]
    ]
