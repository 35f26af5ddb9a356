"""Means of MT-Bench ratings: over all, by turn and by category, each with its n and an interval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from .result import CONFIDENCE

LOWEST, HIGHEST = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Rated:
    """One turn's rating.

    Attributes:
        question: The benchmark's id of the question.
        turn: 1 or 2.
        category: Of the question; empty where it is not known.
        rating: From 1 to 10; None where there is none.
    """

    question: str
    turn: int
    category: str
    rating: float | None


def mean_of(rated: Sequence[Rated]) -> dict[str, Any]:
    """Mean, n, n_expected and the 95 % interval, clustered by question; None where nothing can be said."""
    known = [(one.question, one.rating) for one in rated if one.rating is not None]
    ratings = [rating for _, rating in known]
    found = clustered_interval(known)
    return {
        "mean": math.fsum(ratings) / len(ratings) if ratings else None,
        "n": len(ratings),
        "n_expected": len(rated),
        "interval": list(found) if found else None,
    }


def by_turn(rated: Sequence[Rated]) -> dict[str, dict[str, Any]]:
    """`mean_of` for each turn, by its number as a text."""
    return _by(rated, lambda one: str(one.turn))


def by_category(rated: Sequence[Rated]) -> dict[str, dict[str, Any]]:
    """`mean_of` for each category that is known, by name."""
    return _by([one for one in rated if one.category], lambda one: one.category)


def clustered_interval(values: Sequence[tuple[Hashable, float]]) -> tuple[float, float] | None:
    """A 95 % interval of a mean whose values come in clusters: the turns of one conversation go up and down together.

    Args:
        values: (cluster, value); clusters are independent of each other and may differ in size.

    Returns:
        (low, high), by the normal distribution and the clusters' sums of residuals; None for fewer than two clusters.
    """
    clusters: defaultdict[Hashable, list[float]] = defaultdict(list)
    for cluster, value in values:
        clusters[cluster].append(value)
    count = len(clusters)
    if count < 2:
        return None
    mean = math.fsum(value for _, value in values) / len(values)
    squares = math.fsum(math.fsum(value - mean for value in cluster) ** 2 for cluster in clusters.values())
    error = math.sqrt(squares * count / (count - 1)) / len(values)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    return mean - half, mean + half


def _by(rated: Sequence[Rated], key: Callable[[Rated], str]) -> dict[str, dict[str, Any]]:
    groups: defaultdict[str, list[Rated]] = defaultdict(list)
    for one in rated:
        groups[key(one)].append(one)
    return {name: mean_of(group) for name, group in sorted(groups.items())}
