"""Deita: complex and good rows first, none too like another (arXiv 2312.15685, section 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ...errors import DataError
from ...tags.embed import Embedder, Vectors
from ..choice import Selection
from .candidates import Candidates, Ranked, counted, descending, finite, read_candidates, shown
from .vectors import CHUNK, READS, TextOf, encode_rows, opened, texts_of

_SLACK = 1e-6  # float32 cosines are no finer


@dataclass(frozen=True)
class Deita:
    """Rows by complexity × quality; each is kept unless it is more than `threshold` alike to one that was kept.

    Of rows that are the same, exactly one is kept. A row that lacks a score comes last.

    Attributes:
        embedder: An embedder, or its name as `open_embedder` takes it.
        threshold: Highest cosine similarity to any kept row, in -1..1.
        of: Embed the "instruction" or the whole "row", the paper's way.
    """

    embedder: str | Embedder = "builtin"
    threshold: float = 0.9
    of: TextOf = "row"

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1:
            raise DataError(f"deita.threshold: expected a cosine from -1 to 1, got {self.threshold}")

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; reads `complexity` and `quality`. Only the rows that are looked at are embedded."""
        scorers = dict.fromkeys(("complexity", "quality"), "DeitaScorer or rate_for_deita")
        candidates = read_candidates("deita", dataset, n, {**texts_of(self.of), **scorers}, *READS)
        scores = [_product(finite(row["complexity"]), finite(row["quality"])) for row in candidates.rows]
        order = sorted(range(len(scores)), key=lambda row: descending(scores[row]))
        alike = 0
        ranking: list[Ranked] = []
        for row, (is_kept, likeness) in self._walk(candidates, order, n):
            if not is_kept:
                alike += 1
            else:
                nearest = "" if likeness == -np.inf else f", at most {likeness:.3f} alike to those before it"
                ranking.append(Ranked(row, scores[row], shown("score", scores[row]) + nearest))
        few = counted(
            alike if len(ranking) < n else 0,
            f"rows more than {self.threshold:g} alike to one that was taken are not taken",
        )
        blind = counted(sum(one.score is None for one in ranking), "rows without a score were taken last")
        return candidates.chosen(ranking, n, few, blind)

    def _walk(self, candidates: Candidates, order: Sequence[int], n: int) -> Iterator[tuple[int, tuple[bool, float]]]:
        """Each row with what `_Kept.add` says of it, until n are kept."""
        embedder, kept = opened(self.embedder), _Kept(min(n, len(order)), self.threshold + _SLACK)
        for start in range(0, len(order), CHUNK):
            if kept.full:
                return
            part = order[start : start + CHUNK]
            vectors = encode_rows([candidates.rows[row] for row in part], self.of, embedder)
            yield from zip(part, kept.add(vectors), strict=False)


class _Kept:
    """The vectors of the rows that are kept.

    Args:
        most: How many there can be.
        limit: Highest similarity to those before it with which a vector is kept.
    """

    def __init__(self, most: int, limit: float) -> None:
        self._most, self._limit = most, limit
        self._vectors: Vectors = np.zeros((0, 0), dtype=np.float32)
        self._count = 0

    @property
    def full(self) -> bool:
        return self._count >= self._most

    def add(self, vectors: Vectors) -> Iterator[tuple[bool, float]]:
        """Whether each vector is kept, and its highest similarity to those kept before; ends where enough are.

        Where nothing was kept before, the similarity is -inf.
        """
        if not self._vectors.size:
            self._vectors = np.empty((self._most, vectors.shape[1]), dtype=np.float32)
        first = self._count
        before = (vectors @ self._vectors[:first].T).max(axis=1, initial=-np.inf)
        for vector, highest in zip(vectors, before, strict=True):
            if self.full:
                return
            beside = (self._vectors[first : self._count] @ vector).max(initial=-np.inf)
            likeness = float(max(highest, beside))
            is_kept = likeness <= self._limit
            if is_kept:
                self._vectors[self._count] = vector
                self._count += 1
            yield is_kept, likeness


def _product(complexity: float | None, quality: float | None) -> float | None:
    return None if complexity is None or quality is None else complexity * quality
