"""How far comparisons can be relied upon: flips, ties, place, length, circles, agreement with single scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset

from ..rows import iterate, seed_for
from .pairing import pair_id, pair_of
from .scores import scored


def reliability(compared: Dataset, dataset: Dataset | None = None) -> dict[str, Any]:
    """Figures of the comparisons, as plain JSON values; a number that cannot be had is None.

    Args:
        compared: Pair-rows that the `Comparer` has been through.
        dataset: The rows with `score`, and with `single_score` where they were scored by themselves, too.

    Returns:
        - `n`: comparisons with scores. `missing`: those without. `scored_pairs`: different pairs among them.
          `both_orders`: pairs scored in both orders.
        - `flip_rate`: share of the pairs in both orders whose verdict (better, worse, equal) changes with the order,
          in 0..1. `tie_rate`: share of the comparisons that give both items the same score, in 0..1.
        - `judge_position_bias`: share of the comparisons that the first place wins, minus the share that the second
          wins, in -1..1; the judge's own leaning.
        - `position_bias`: what the place of a row does to its scores, with all orders that a pair was shown in: the
          mean lead of the row that is in front in the first order of its pair, over both orders, in hundredths of the
          scale, -1..1. With one order it is the judge's mean lead of the first place; with both, this cancels. Which
          order of a pair is its first follows from a hash of the ids.
        - `length_bias`: share of the decided pairs with responses of different length that the longer one (in
          characters) wins, in 0..1; 0.5 where length has no effect. `length_correlation`: Kendall's tau-b of the
          rows' mean score and the length of their responses, in -1..1.
        - `triads`: threes of rows of which all three pairs were compared. `transitivity`: share of them that are no
          circle (a over b, b over c, c over a; by the mean lead of each pair), in 0..1; by chance it is 0.75.
        - `agreement_with_single`: Kendall's tau-b of `score` and `single_score`, in -1..1. `score_ties`,
          `single_score_ties`: share of all pairs of these rows that have the same score, in 0..1.

    Raises:
        DataError: If a column is missing.
    """
    judged = _Judged.of(compared)
    leads = judged.mean_leads()
    first, second = judged.won
    return {
        "n": judged.n,
        "missing": len(compared) - judged.n,
        "scored_pairs": len(leads),
        "both_orders": len(judged.both),
        "flip_rate": _mean(_sign(math.fsum(there)) != -_sign(math.fsum(back)) for there, back in judged.both),
        "tie_rate": _share(judged.n - first - second, judged.n),
        "judge_position_bias": _share(first - second, judged.n),
        "position_bias": _mean(_lead_of_front(pair, judged.leads) / 100 for pair in leads),
        "length_bias": _mean(
            lead * judged.longer[pair] > 0 for pair, lead in leads.items() if lead * judged.longer[pair]
        ),
        "length_correlation": judged.length_correlation(),
        **_transitivity(leads),
        **_agreement(dataset),
    }


Pair = tuple[str, str]


@dataclass
class _Judged:
    """The comparisons with scores.

    Attributes:
        leads: By (id shown first, id shown second): the leads of the first, in points; several if asked again.
        longer: Characters that the response of the smaller id has more, by pair (the smaller id first).
        own: Scores of each row.
        lengths: Characters of each row's response.
        won: Comparisons that the first place won, and the second.
        n: How many comparisons.
    """

    leads: dict[Pair, list[float]] = field(default_factory=dict)
    longer: dict[Pair, int] = field(default_factory=dict)
    own: dict[str, list[float]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    won: tuple[int, int] = (0, 0)
    n: int = 0

    @classmethod
    def of(cls, compared: Dataset) -> _Judged:
        """Read them."""
        found = cls()
        for row in scored(compared):
            found._add(row)
        return found

    def _add(self, row: Mapping[str, Any]) -> None:
        for side in ("first", "second"):
            self.own.setdefault(row[f"{side}_id"], []).append(row[f"{side}_score"])
            self.lengths[row[f"{side}_id"]] = len(row.get(f"{side}_response") or "")
        shown = (row["first_id"], row["second_id"])
        lead = row["first_score"] - row["second_score"]
        self.leads.setdefault(shown, []).append(lead)
        small, large = pair_of(*shown)
        self.longer[small, large] = self.lengths[small] - self.lengths[large]
        self.won = (self.won[0] + (lead > 0), self.won[1] + (lead < 0))
        self.n += 1

    @property
    def both(self) -> list[tuple[Sequence[float], Sequence[float]]]:
        """Leads of the place in front, there and back, of the pairs in both orders."""
        return [
            (there, self.leads[second, first])
            for (first, second), there in self.leads.items()
            if first < second and (second, first) in self.leads
        ]

    def mean_leads(self) -> dict[Pair, float]:
        """Mean lead of the smaller id over the orders shown, by pair."""
        return {pair: _lead(pair, self.leads) for pair in sorted({pair_of(*shown) for shown in self.leads})}

    def length_correlation(self) -> float | None:
        """Of the mean scores and the lengths."""
        ids = sorted(self.own)
        means = [math.fsum(self.own[row_id]) / len(self.own[row_id]) for row_id in ids]
        return _tau(means, [self.lengths[row_id] for row_id in ids])


def _lead(shown: Pair, leads: Mapping[Pair, Sequence[float]]) -> float:
    """Mean lead of the first of two rows over the orders that they were shown in."""
    orders = ((1, leads.get(shown, ())), (-1, leads.get((shown[1], shown[0]), ())))
    means = [sign * math.fsum(found) / len(found) for sign, found in orders if found]
    return math.fsum(means) / len(means)


def _lead_of_front(pair: Pair, leads: Mapping[Pair, Sequence[float]]) -> float:
    """Mean lead of the row in front in the first order of a pair."""
    shown = [order for order in (pair, (pair[1], pair[0])) if order in leads]
    return _lead(shown[seed_for(0, pair_id(*pair), "position_bias") % len(shown)], leads)


def _transitivity(leads: Mapping[Pair, float]) -> dict[str, Any]:
    """Triads and the share of them that are no circle."""
    beyond: dict[str, set[str]] = {}
    for small, large in leads:
        beyond.setdefault(small, set()).add(large)
    triads = circles = 0
    for (small, middle), lead in leads.items():
        for large in beyond.get(middle, set()) & beyond[small]:
            signs = {_sign(lead), _sign(leads[middle, large]), -_sign(leads[small, large])}
            triads, circles = triads + 1, circles + (signs in ({1}, {-1}))
    return {"triads": triads, "transitivity": _share(triads - circles, triads)}


def _agreement(dataset: Dataset | None) -> dict[str, Any]:
    """Of `score` and `single_score`, over the rows that have both."""
    names = ("score", "single_score")
    if dataset is None or not set(names) <= set(dataset.column_names):
        return dict.fromkeys(("agreement_with_single", "score_ties", "single_score_ties"))
    rows = [row for row in iterate(dataset.select_columns(list(names))) if None not in row.values()]
    score, single = ([row[name] for row in rows] for name in names)
    ties = {"score_ties": _ties(score), "single_score_ties": _ties(single)}
    return {"agreement_with_single": _tau(score, single), **ties}


def _ties(values: Sequence[float]) -> float | None:
    """Share of all pairs of values that are equal."""
    counts = np.unique(np.array(values, np.float64), return_counts=True)[1].astype(np.int64)
    return _share(int((counts * (counts - 1)).sum()), len(values) * (len(values) - 1))


def _tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b; None where one of them has a single value."""
    from scipy.stats import kendalltau

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return round(float(kendalltau(one, other).statistic), 6)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return _share(math.fsum(listed), len(listed))


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
