"""The plainest ways to choose: by chance, everything, and the longest responses ("Long is more", arXiv 2402.04833)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset

from ..choice import Selection
from .candidates import Ranked, read_candidates


@dataclass(frozen=True)
class Random:
    """Rows by chance, each as likely as the others.

    Attributes:
        seed: Together with a row's id it decides the row's place in the lottery.
    """

    seed: int = 42

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`."""
        candidates = read_candidates("random", dataset, n, {})
        order = sorted(range(len(candidates)), key=lambda row: candidates.draw(row, self.seed))
        return candidates.chosen([Ranked(row, None, f"seed {self.seed}") for row in order[:n]], n)


def several_random(dataset: Dataset, n: int, seeds: Sequence[int] = (42, 43, 44)) -> dict[int, Selection]:
    """Seed → a random selection; report the mean and the standard deviation over at least three."""
    return {seed: Random(seed).select(dataset, n) for seed in seeds}


@dataclass(frozen=True)
class Full:
    """All rows, however many are asked for."""

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`, with every row that is not rejected."""
        candidates = read_candidates("full", dataset, n, {})
        note = f"full takes all {len(candidates):,} rows, {n:,} were asked for" if n < len(candidates) else ""
        return candidates.chosen([Ranked(row, None, "all are taken") for row in range(len(candidates))], n, note)


@dataclass(frozen=True)
class Longest:
    """The rows with the longest responses, in characters."""

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; reads `response`."""
        candidates = read_candidates("longest", dataset, n, {"response": "prepare"})
        sizes = [len(row["response"] or "") for row in candidates.rows]
        order = sorted(range(len(sizes)), key=lambda row: -sizes[row])[:n]
        return candidates.chosen([Ranked(row, float(sizes[row]), _characters(sizes[row])) for row in order], n)


def _characters(size: int) -> str:
    return f"response of {size:,} characters"
