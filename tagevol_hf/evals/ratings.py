"""Ratings and verdicts out of a judge's free text."""

from __future__ import annotations

import math
import re
from typing import Literal

Place = Literal["first", "second", "tie"]

# As FastChat reads them: two brackets, and only where there are none, one.
_RATINGS = (re.compile(r"\[\[([0-9]+(?:\.[0-9]*)?)\]\]"), re.compile(r"\[([0-9]+(?:\.[0-9]*)?)\]"))
_VERDICT = re.compile(r"\[\[([ABC])\]\]")
_PLACES: dict[str, Place] = {"A": "first", "B": "second", "C": "tie"}
_TWO_SCORES = re.compile(r"\(?([0-9]+(?:\.[0-9]+)?)(?:\s*[,;/&]\s*|\s+(?:and\s+)?)([0-9]+(?:\.[0-9]+)?)\)?\.?")


def rating_in(text: str) -> float | None:
    """The rating in a judgment, as FastChat reads it: the first `[[5]]` or `[[5.5]]`, else the first `[5]`.

    Args:
        text: A judge's whole reply.

    Returns:
        The number, of any size, or None where there is none (FastChat's -1).
    """
    for form in _RATINGS:
        if match := form.search(text):
            return _finite(match[1])
    return None


def only_rating_in(text: str) -> float | None:
    """As `rating_in`, but None where a judgment names several that differ, such as one that it quotes."""
    for form in _RATINGS:
        if found := set(form.findall(text)):
            ratings = {_finite(number) for number in found}
            return ratings.pop() if len(ratings) == 1 else None
    return None


def place_in(text: str) -> Place | None:
    """Which answer a judgment prefers: `[[A]]` is the first, `[[B]]` the second, `[[C]]` a tie.

    Returns:
        The place, or None where there is no verdict, or there are several that differ.
    """
    found = set(_VERDICT.findall(text))
    return _PLACES[found.pop()] if len(found) == 1 else None


def two_scores_in(text: str) -> tuple[float, float] | None:
    """The scores of two answers, in the order in which they were shown, where the first line is both: "8 9".

    Returns:
        The scores, or None where the first line with text is anything else.
    """
    match = _TWO_SCORES.fullmatch(text.strip().partition("\n")[0].strip())
    if match is None:
        return None
    first, second = _finite(match[1]), _finite(match[2])
    return None if first is None or second is None else (first, second)


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None
