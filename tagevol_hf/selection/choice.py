"""Which rows were chosen, and why: the value that every way of selecting gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Features, Value

from ..rows import Row, with_columns

CHOSEN = Features({"cluster_rank": Value("int64"), "why": Value("string")})


@dataclass(frozen=True)
class Choice:
    """One chosen row.

    Attributes:
        index: Its place in the data set.
        id: Its id.
        cluster: The cluster for which it was taken, or None where the way of selecting knows none.
        rank: Its place in the cluster (without clusters: among all rows), from 1.
        score: What it was ranked by, or None where that is missing.
        why: The same in words.
    """

    index: int
    id: str
    cluster: int | None
    rank: int
    score: float | None
    why: str


@dataclass(frozen=True)
class Selection:
    """Which rows were chosen (a pick), in the order of the data set.

    Attributes:
        choices: The chosen rows.
        left: Places of the other rows.
        quotas: How many were taken of each cluster; empty without clusters.
        asked: How many were asked for.
        warning: Says so if there were fewer rows than that; else empty.
    """

    choices: tuple[Choice, ...]
    left: tuple[int, ...]
    quotas: Mapping[int, int]
    asked: int
    warning: str = ""

    @property
    def indices(self) -> list[int]:
        """Places of the chosen rows, ascending."""
        return [choice.index for choice in self.choices]

    def apply(self, dataset: Dataset) -> Dataset:
        """The chosen rows, with `cluster_rank` and `why`; the data set must be the one that was selected from."""
        by_id = {choice.id: choice for choice in self.choices}

        def read(row: Row) -> dict[str, Any]:
            choice = by_id[row["id"]]
            return {"cluster_rank": choice.rank, "why": choice.why}

        return with_columns(dataset.select(self.indices), read, CHOSEN)

    def summary(self) -> dict[str, Any]:
        """Numbers asked for, chosen and left, clusters with a chosen row, and the warning."""
        return {
            "asked": self.asked,
            "chosen": len(self.choices),
            "left": len(self.left),
            "clusters": sum(count > 0 for count in self.quotas.values()),
            "warning": self.warning,
        }
