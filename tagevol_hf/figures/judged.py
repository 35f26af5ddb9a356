"""The faults of the judge that compared the rows: what place and length do to its verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True)
class Judged:
    """One figure of a judge.

    Attributes:
        name: What it is.
        value: From `low` to `high`.
        low: Of the scale.
        high: Of the scale.
        without: Its value for a judge without this fault, or None.
        interval: Of 95 %, where run.json has the count that it follows from.
        n: That count, or None.
    """

    name: str
    value: float
    low: float
    high: float
    without: float | None
    interval: tuple[float, float] | None
    n: int | None


def judged(said: Mapping[str, float]) -> list[Judged]:
    """How far the judge can be trusted, from the numbers that the step `compare` left in run.json."""
    found = []
    for key, (name, low, without, of) in _JUDGED.items():
        value = said.get(key)
        if value is not None and low <= value <= 1:
            n = int(said.get(of, 0)) or None
            spread = _spread(key, value, n, said) if n else None
            found.append(Judged(name, value, low, 1.0, without, spread, n if spread else None))
    return found


# Name in run.json → what it is, the scale's lower end, its value without bias, and the count that it is a share of.
_JUDGED: Mapping[str, tuple[str, float, float | None, str]] = {
    "judge_position_bias": ("first place wins more often", -1.0, 0.0, "n"),
    "position_bias": ("lead by being in front", -1.0, 0.0, ""),
    "length_bias": ("longer response wins", 0.0, 0.5, ""),
    "flip_rate": ("verdict flips with the order", 0.0, 0.0, "both_orders"),
    "tie_rate": ("equal scores", 0.0, None, "n"),
    "transitivity": ("threes without a circle", 0.0, 1.0, ""),
}
_Z = 1.959964


def _spread(key: str, value: float, n: int, said: Mapping[str, float]) -> tuple[float, float] | None:
    """An interval of 95 %: Wilson's for a share, the normal one for the difference of two."""
    if key == "judge_position_bias":
        tied = said.get("tie_rate")
        if tied is None:
            return None
        half = _Z * sqrt(max(0.0, (1 - tied) - value**2) / n)
        return max(-1.0, value - half), min(1.0, value + half)
    middle, scale = (value + _Z**2 / (2 * n)) / (1 + _Z**2 / n), _Z / (1 + _Z**2 / n)
    half = scale * sqrt(value * (1 - value) / n + _Z**2 / (4 * n**2))
    return max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half))
