"""Comparisons → one score a row, and how far the judge can be relied upon (TACOS, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Features, Value

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, rejection, with_columns

SCORES = Features({"score": Value("float64"), "comparisons": Value("int64"), "rejection": REJECTION})

_NEEDS = ("first_id", "second_id", "first_score", "second_score")


@dataclass(frozen=True)
class Score:
    """What the comparisons of one row came to.

    Attributes:
        mean: Mean of its scores over all its comparisons, in 1..100.
        comparisons: Comparisons that gave a score; the two orders of a pair count as two.
        wins: Those in which it had more than the other.
        ties: Those in which both had the same.
    """

    mean: float
    comparisons: int
    wins: int
    ties: int

    @property
    def losses(self) -> int:
        """Comparisons in which it had less than the other."""
        return self.comparisons - self.wins - self.ties


def fold_scores(compared: Dataset) -> dict[str, Score]:
    """Score of each row by its id, sorted; a row whose comparisons all failed is not in it.

    A rejected comparison counts for nothing: a missing score is missing, never 0.

    Args:
        compared: Pair-rows that the `Comparer` has been through.

    Raises:
        DataError: If a column is missing.
    """
    sums: dict[str, list[int]] = {}
    for row in _scored(compared):
        for own, other in (("first", "second"), ("second", "first")):
            mine, its = row[f"{own}_score"], row[f"{other}_score"]
            tally = sums.setdefault(row[f"{own}_id"], [0, 0, 0, 0])
            for place, value in enumerate((mine, 1, mine > its, mine == its)):
                tally[place] += value
    return {
        row_id: Score(total / count, count, wins, ties) for row_id, (total, count, wins, ties) in sorted(sums.items())
    }


def add_scores(dataset: Dataset, scores: Mapping[str, Score]) -> Dataset:
    """The data set with `score` (1..100) and `comparisons`; a row without a score is rejected with "no_score"."""
    alone = len(dataset) == 1
    why = "the only row; there is nothing to compare it with" if alone else "none of its comparisons gave a score"

    def read(row: Row) -> dict[str, Any]:
        mark = row.get("rejection")
        found = scores.get(row["id"]) if mark is None else None
        if found is not None:
            return {"score": found.mean, "comparisons": found.comparisons, "rejection": None}
        return {"score": None, "comparisons": 0, "rejection": mark or rejection("compare", "no_score", why)}

    return with_columns(dataset, read, SCORES)


def reliability(compared: Dataset) -> dict[str, Any]:
    """How far the comparisons can be relied upon; a number that cannot be had is None.

    Returns:
        `n`: comparisons with scores. `missing`: those without. `scored_pairs`: different pairs among them.
        `both_orders`: pairs scored in both orders. `flip_rate`: share of these whose verdict (better, worse, equal)
        changes with the order, in 0..1. `position_bias`: mean score of the first place minus that of the second, in
        points; 0 where place has no effect and both orders are there. `length_bias`: share of the decided pairs with
        responses of different length that the longer one (in characters) wins, in 0..1; 0.5 where length has no effect.

    Raises:
        DataError: If a column is missing.
    """
    leads: dict[tuple[str, str], dict[bool, int]] = {}
    longer: dict[tuple[str, str], int] = {}
    shift, n = 0, 0
    for row in _scored(compared):
        lead = row["first_score"] - row["second_score"]
        shift, n = shift + lead, n + 1
        turned = row["first_id"] > row["second_id"]
        pair = (row["second_id"], row["first_id"]) if turned else (row["first_id"], row["second_id"])
        sign = -1 if turned else 1
        leads.setdefault(pair, {})[turned] = sign * lead
        longer[pair] = sign * (len(row.get("first_response") or "") - len(row.get("second_response") or ""))
    both = [by_order for by_order in leads.values() if len(by_order) == 2]
    decided = [(sum(leads[pair].values()), size) for pair, size in longer.items() if size and sum(leads[pair].values())]
    return {
        "n": n,
        "missing": len(compared) - n,
        "scored_pairs": len(leads),
        "both_orders": len(both),
        "flip_rate": _share(sum(_sign(one[False]) != _sign(one[True]) for one in both), len(both)),
        "position_bias": _share(shift, n),
        "length_bias": _share(sum((lead > 0) == (size > 0) for lead, size in decided), len(decided)),
    }


def _scored(compared: Dataset) -> Iterator[dict[str, Any]]:
    """The comparisons that gave both scores."""
    missing = [name for name in _NEEDS if name not in compared.column_names]
    if missing:
        raise DataError(
            f"scores need the columns {', '.join(missing)}; the data set has: {', '.join(compared.column_names)}; "
            "apply Comparer to pairs(dataset) first"
        )
    have = [*_NEEDS, "first_response", "second_response", "rejection"]
    for row in iterate(compared.select_columns([name for name in have if name in compared.column_names])):
        scores = (row["first_score"], row["second_score"])
        if row.get("rejection") is None and None not in scores:
            yield row


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
