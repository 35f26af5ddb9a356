"""Comparisons → one score a row, with how far it can be relied upon (TACOS, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from datasets import Dataset, Features, Value

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, rejection, with_columns
from .bradley_terry import strengths

SCORES = Features(
    {
        "score": Value("float64"),
        "score_error": Value("float64"),
        "comparisons": Value("int64"),
        "rejection": REJECTION,
    }
)

Method = Literal["mean", "bradley-terry"]

_NEEDS = ("first_id", "second_id", "first_score", "second_score")


@dataclass(frozen=True)
class Score:
    """What the comparisons of one row came to.

    Attributes:
        value: "mean": mean of its scores over all its comparisons, in 1..100. "bradley-terry": 100 × the chance to
            beat an average row among those that it is linked with by comparisons, in 0..100.
        error: Standard error of the value, in the same unit; None where it is not known.
        comparisons: Comparisons that gave a score; the two orders of a pair count as two.
        wins: Those in which it had more than the other.
        ties: Those in which both had the same.
    """

    value: float
    error: float | None
    comparisons: int
    wins: int
    ties: int

    @property
    def losses(self) -> int:
        """Comparisons in which it had less than the other."""
        return self.comparisons - self.wins - self.ties


def fold_scores(compared: Dataset, method: Method = "mean") -> dict[str, Score]:
    """Score of each row by its id, sorted; a row whose comparisons all failed is not in it.

    A rejected comparison counts for nothing: a missing score is missing, never 0.

    Args:
        compared: Pair-rows that the `Comparer` has been through.
        method: "mean" takes the scores as they are. Its error comes from the means of the row's pairs, for the two
            orders of a pair are not independent; it is None with fewer than two pairs. "bradley-terry" takes the
            verdicts alone (more, less, equal), and the strength of the others into account; see
            `bradley_terry.strengths`. Its values compare rows that are linked by comparisons, such as those of one
            cluster, and no others.

    Raises:
        DataError: If a column is missing or the method is unknown.
    """
    if method not in get_args(Method):
        raise DataError(f"fold_scores.method: expected one of {', '.join(get_args(Method))}, got {method!r}")
    met = _met(compared)
    values = strengths(_verdicts(met)) if method == "bradley-terry" else {}
    return {row_id: _score(met[row_id], values.get(row_id)) for row_id in sorted(met)}


def add_scores(dataset: Dataset, scores: Mapping[str, Score]) -> Dataset:
    """The data set with `score`, `score_error` (null where it is not known) and `comparisons`.

    A row without a score is rejected with "no_score".

    Args:
        dataset: Rows as `prepare` gives them.
        scores: Id of a row → its score, as `fold_scores` gives it.
    """
    alone = len(dataset) == 1
    why = "the only row; there is nothing to compare it with" if alone else "none of its comparisons gave a score"

    def read(row: Row) -> dict[str, Any]:
        mark = row.get("rejection")
        found = scores.get(row["id"]) if mark is None else None
        if found is None:
            mark = mark or rejection("compare", "no_score", why)
            return {"score": None, "score_error": None, "comparisons": 0, "rejection": mark}
        return {
            "score": found.value,
            "score_error": found.error,
            "comparisons": found.comparisons,
            "rejection": None,
        }

    return with_columns(dataset, read, SCORES)


def scored(compared: Dataset) -> Iterator[dict[str, Any]]:
    """The comparisons that gave both scores.

    Raises:
        DataError: If a column is missing.
    """
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


Met = Mapping[str, Sequence[tuple[float, float]]]
"""What one row's comparisons gave, by the id of the other: (its own score, that of the other)."""


def _met(compared: Dataset) -> Mapping[str, Met]:
    met: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in scored(compared):
        for own, other in (("first", "second"), ("second", "first")):
            given = (row[f"{own}_score"], row[f"{other}_score"])
            met.setdefault(row[f"{own}_id"], {}).setdefault(row[f"{other}_id"], []).append(given)
    return met


def _score(met: Met, strength: tuple[float, float] | None) -> Score:
    given = [scores for of_pair in met.values() for scores in of_pair]
    wins, ties = sum(own > other for own, other in given), sum(own == other for own, other in given)
    if strength is not None:
        return Score(*strength, len(given), wins, ties)
    means = [math.fsum(own for own, _ in of_pair) / len(of_pair) for of_pair in met.values()]
    mean = math.fsum(own for own, _ in given) / len(given)
    return Score(mean, _standard_error(means), len(given), wins, ties)


def _standard_error(values: Sequence[float]) -> float | None:
    """That of the mean of independent values; None for fewer than two."""
    if len(values) < 2:
        return None
    middle = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values))


def _verdicts(met: Mapping[str, Met]) -> dict[tuple[str, str], float]:
    """Share of its comparisons that the first of a pair wins, by pair; a tie is half a win."""
    return {
        (row_id, other): sum(0.5 + ((own > its) - (own < its)) / 2 for own, its in given) / len(given)
        for row_id, others in met.items()
        for other, given in others.items()
        if row_id < other
    }
