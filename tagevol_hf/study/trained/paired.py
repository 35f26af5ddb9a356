"""Arms against each other on the same problems: means, differences, and their bootstrap intervals.

The bootstrap is hierarchical. In each draw the problems are drawn again with replacement, the same ones for all arms
and all their seeds, so that what is hard for all cancels in a difference; and inside each arm its trained models (one a
seed) are drawn again with replacement, each arm's by itself, since two arms share nothing but the number of a seed. An
arm's value in a draw is the mean over the drawn models and problems; an interval is between the draws' percentiles.
With S seeds the variance between trainings is understated by the factor (S - 1) / S; with one seed it is not in the
interval at all, which then speaks of these models, not of the way that selected their data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...rows import seed_for

CONFIDENCE = 0.95
DRAWS = 10_000
_CELLS = 2_000_000  # numbers in memory at a time

Scores = Mapping[int, Mapping[str, float]]  # seed of a training → problem → score


@dataclass(frozen=True, slots=True)
class Contrast:
    """One arm in one task.

    Attributes:
        n: Problems that all arms and all their models have a score for; the figures are of these.
        seeds: Of the arm's models, ascending.
        mean: Over models and problems.
        interval: (low, high) of the mean at 95 %; None for fewer than two problems.
        sd_over_seeds: Standard deviation of the models' means; None for one model.
        difference: The arm's mean minus that of the arm compared with; None for this one itself.
        difference_interval: (low, high) of the difference.
    """

    arm: str
    n: int
    seeds: tuple[int, ...]
    mean: float
    interval: tuple[float, float] | None
    sd_over_seeds: float | None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values of JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def contrasts(arms: Mapping[str, Scores], against: str, *, draws: int = DRAWS, seed: int = 0) -> list[Contrast]:
    """Compare arms in one task.

    Args:
        arms: Arm → its models' scores. Arms without models are left out.
        against: The arm with which the others are compared; where it has no models there are no differences.
        draws: Of the bootstrap, at least 1.
        seed: Of its random numbers; an arm's draws depend on nothing but this, its name and the problems.

    Returns:
        One for each arm, in the order of the arms; empty where no problem has a score of all.
    """
    arms = {name: models for name, models in arms.items() if models}
    problems = common_problems(arms)
    if not problems:
        return []
    tables = {name: _table(models, problems) for name, models in arms.items()}
    drawn = bootstrap(tables, draws=draws, seed=seed)
    base = against if against in tables else None
    return [_contrast(name, sorted(arms[name]), tables, drawn, base) for name in tables]


def common_problems(arms: Mapping[str, Scores]) -> list[str]:
    """The problems that all models of all arms have a score for, in order."""
    known = [set(scores) for models in arms.values() for scores in models.values()]
    return sorted(set.intersection(*known)) if known else []


def bootstrap(
    tables: Mapping[str, NDArray[np.float64]], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Means of each arm in each draw, as the module's first lines say.

    Args:
        tables: Arm → scores, a row a model and a column a problem; all have the same columns.
        draws: How many.
        seed: Of the random numbers.

    Returns:
        Arm → one mean a draw. Draw i of two arms has the same problems.
    """
    count = next(iter(tables.values())).shape[1]
    problems = np.random.default_rng(seed_for(seed, "problems", "bootstrap"))
    models = {name: np.random.default_rng(seed_for(seed, f"models {name}", "bootstrap")) for name in tables}
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in tables}
    block = max(1, _CELLS // count)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        weights = problems.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64) / count
        for name, table in tables.items():
            means = weights @ table.T
            picked = models[name].integers(len(table), size=means.shape)
            parts[name].append(np.take_along_axis(means, picked, axis=1).mean(axis=1))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _table(models: Scores, problems: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[models[seed][problem] for problem in problems] for seed in sorted(models)], dtype=np.float64)


def _contrast(
    name: str,
    seeds: Sequence[int],
    tables: Mapping[str, NDArray[np.float64]],
    drawn: Mapping[str, NDArray[np.float64]],
    base: str | None,
) -> Contrast:
    table, problems = tables[name], tables[name].shape[1]
    means = [float(mean) for mean in table.mean(axis=1)]
    figures = Contrast(
        name,
        problems,
        tuple(seeds),
        float(table.mean()),
        _interval(drawn[name], problems),
        stdev(means) if len(means) > 1 else None,
    )
    if base is None or base == name:
        return figures
    difference = float(table.mean() - tables[base].mean())
    spread = _interval(drawn[name] - drawn[base], problems)
    return replace(figures, difference=difference, difference_interval=spread)


def _interval(values: NDArray[np.float64], problems: int) -> tuple[float, float] | None:
    if problems < 2:
        return None
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
