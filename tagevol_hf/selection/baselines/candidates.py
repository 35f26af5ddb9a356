"""What every baseline reads and gives: the rows that may be chosen, and the choice made of a ranking of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from datasets import Dataset

from ...errors import DataError
from ...rows import Row, iterate, seed_for
from ..choice import Choice, Selection


class Baseline(Protocol):
    """A way of selecting: a frozen value that holds its settings."""

    def select(self, dataset: Dataset, n: int) -> Selection:
        """Choose rows of a data set, min(n, good rows) unless the method's own rule gives fewer or more.

        Args:
            dataset: Rows with different ids and the columns that the method reads. Rejected rows are never chosen.
            n: How many, >= 0.

        Returns:
            The choice; ranks count over the whole data set, from 1. Its warning says whatever was left out, and why.

        Raises:
            DataError: If a column is missing, an id stands there twice, or n is negative.
        """
        ...


@dataclass(frozen=True)
class Ranked:
    """A row in its place of a ranking.

    Attributes:
        row: Its place among the candidates.
        score: What it was ranked by; None where that is missing.
        figure: The same in words, for `Choice.why`.
    """

    row: int
    score: float | None
    figure: str


@dataclass(frozen=True)
class Candidates:
    """The rows of a data set that may be chosen, sorted by id, so that row order has no say.

    Attributes:
        method: Name of the baseline.
        rows: Those of their columns that the method reads, with `id`.
        places: Their places in the data set.
        size: Rows of the data set, rejected ones included.
    """

    method: str
    rows: Sequence[Row]
    places: Sequence[int]
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, row: int, seed: int) -> int:
        """A random number of a row, which depends on the seed, its id and the method alone."""
        return seed_for(seed, self.rows[row]["id"], self.method)

    def chosen(self, ranking: Sequence[Ranked], n: int, *notes: str) -> Selection:
        """The selection that takes the whole ranking, the best first; empty notes are left out of its warning."""
        choices = [self._choice(one, rank) for rank, one in enumerate(ranking, 1)]
        choices.sort(key=lambda choice: choice.index)
        taken = {choice.index for choice in choices}
        left = tuple(place for place in range(self.size) if place not in taken)
        lost = self.size - len(self)
        rejected = counted(lost, "rejected rows are left out")
        few = f"{n:,} rows asked for, there are {len(self):,}" if n > len(self) else ""
        warning = "; ".join(note for note in (few, *notes, rejected) if note)
        return Selection(tuple(choices), left, {}, n, warning)

    def _choice(self, one: Ranked, rank: int) -> Choice:
        why = f"number {rank} of {len(self)} by {self.method}, {one.figure}"
        return Choice(self.places[one.row], self.rows[one.row]["id"], None, rank, one.score, why)


def read_candidates(method: str, dataset: Dataset, n: int, needs: Mapping[str, str], *also: str) -> Candidates:
    """The rows without a rejection.

    Args:
        method: Name of the baseline, for messages.
        dataset: What to choose from.
        n: How many are asked for.
        needs: Columns that must be there → what writes them.
        also: Columns that are read where they are there.

    Raises:
        DataError: As `Baseline.select`.
    """
    if n < 0:
        raise DataError(f"{method}.n: expected 0 or more rows, got {n}")
    have = dataset.column_names
    missing = [name for name in ("id", *needs) if name not in have]
    if missing:
        writers = ", ".join(dict.fromkeys(needs.get(name, "prepare") for name in missing))
        raise DataError(
            f"{method} needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}; the data set has: "
            f"{', '.join(have) or 'none'}; apply {writers} first"
        )
    read = [name for name in dict.fromkeys(("id", *needs, *also, "rejection")) if name in have]
    rows = list(enumerate(iterate(dataset.select_columns(read))))
    twice = [row_id for row_id, count in Counter(row["id"] for _, row in rows).items() if count > 1]
    if twice:
        raise DataError(f"{method} needs different ids; {min(twice)!r} stands there twice")
    good = sorted(((place, row) for place, row in rows if row.get("rejection") is None), key=lambda one: one[1]["id"])
    return Candidates(method, [row for _, row in good], [place for place, _ in good], len(rows))


def finite(value: Any) -> float | None:
    """A score as a number; None where it is missing, NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def descending(score: float | None) -> tuple[bool, float]:
    """Sorts the highest score first and a missing one last."""
    return score is None, -(score or 0.0)


def shown(name: str, score: float | None) -> str:
    """A score in words."""
    return f"no {name}" if score is None else f"{name} {score:.3f}"


def counted(count: int, what: str) -> str:
    """A note that ends with a number of rows; empty for none."""
    return f"{what}: {count:,}" if count else ""
