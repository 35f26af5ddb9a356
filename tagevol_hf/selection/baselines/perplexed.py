"""Selection by a small language model: IFD (Superfiltering, arXiv 2402.00530) and plain perplexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from datasets import Dataset

from ...errors import DataError
from ..choice import Selection
from .candidates import Ranked, counted, descending, finite, read_candidates, shown

Level = Literal["low", "middle", "high"]


@dataclass(frozen=True)
class IFD:
    """Rows of the highest instruction-following difficulty below `below`: there the instruction helps, but little.

    IFD is the perplexity of the response given the instruction, over that of the response alone. A row without one
    (an empty response, or one of a single token) is not taken.

    Attributes:
        below: Rows with this IFD or a higher one are dropped; 1 is where the instruction stops helping.
    """

    below: float = 1.0

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; reads `ifd`."""
        candidates = read_candidates("ifd", dataset, n, {"ifd": "add_perplexity"}, "ifd_note")
        values = [finite(row["ifd"]) for row in candidates.rows]
        fit = [row for row, value in enumerate(values) if value is not None and value < self.below]
        fit.sort(key=lambda row: descending(values[row]))
        ranking = [Ranked(row, values[row], shown("IFD", values[row])) for row in fit[:n]]
        blind = sum(value is None for value in values) if n > len(ranking) else 0
        high = len(values) - len(fit) - blind if n > len(ranking) else 0
        above = counted(high, f"rows with an IFD of {self.below:g} or more are not taken")
        cut = sum(values[row] is not None and bool(candidates.rows[row].get("ifd_note")) for row in fit[:n])
        without = counted(blind, "rows without an IFD are not taken")
        return candidates.chosen(ranking, n, above, without, counted(cut, "rows taken whose response was read in part"))


@dataclass(frozen=True)
class Perplexity:
    """Rows by the perplexity of the response given the instruction.

    A row without one comes last.

    Attributes:
        level: Take the "low"est, the "high"est, or those around the "middle" of the ranking.
    """

    level: Level = "high"

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise DataError(f"perplexity.level: expected {', '.join(get_args(Level))}, got {self.level!r}")

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; reads `perplexity`."""
        candidates = read_candidates("perplexity", dataset, n, {"perplexity": "add_perplexity"})
        values = [finite(row["perplexity"]) for row in candidates.rows]
        known = [row for row, value in enumerate(values) if value is not None]
        order = self._ordered(known, values) + [row for row, value in enumerate(values) if value is None]
        ranking = [Ranked(row, values[row], self._figure(values[row])) for row in order[:n]]
        blind = sum(one.score is None for one in ranking)
        return candidates.chosen(ranking, n, counted(blind, "rows without a perplexity were taken last"))

    def _figure(self, value: float | None) -> str:
        return f"{shown('perplexity', value)}, {self.level} ones first"

    def _ordered(self, known: Sequence[int], values: Sequence[float | None]) -> list[int]:
        """Rows that have a perplexity, those of the level first."""
        if self.level == "high":
            return sorted(known, key=lambda row: descending(values[row]))
        rising = sorted(known, key=lambda row: values[row] or 0.0)
        if self.level == "low":
            return rising
        places = sorted(range(len(rising)), key=lambda place: abs(2 * place - len(rising) + 1))
        return [rising[place] for place in places]
