"""Greedy k-centre: each next row is the one farthest from all that were taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ...tags.embed import Embedder, Vectors
from ..choice import Selection
from .candidates import Ranked, read_candidates
from .vectors import READS, TextOf, encode_rows, opened, texts_of

_SAME = 1e-6  # cosine distances that differ by no more are ties; float32 is no finer


@dataclass(frozen=True)
class KCenter:
    """Rows that cover the space: at most twice the least possible distance of any row to its nearest chosen one.

    The first row is drawn by the seed. Distances are cosine distances, in 0..2; ties go to the lower id.

    Attributes:
        embedder: An embedder, or its name as `open_embedder` takes it.
        of: Embed the "instruction" or the whole "row".
        seed: With the ids it decides the first row.
    """

    embedder: str | Embedder = "builtin"
    of: TextOf = "instruction"
    seed: int = 42

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; takes O(n · rows · d) time, and memory for one vector a row."""
        candidates = read_candidates("k-center", dataset, n, texts_of(self.of), *READS)
        count = min(n, len(candidates))
        if count == 0:
            return candidates.chosen([], n)
        vectors = encode_rows(candidates.rows, self.of, opened(self.embedder))
        first = min(range(len(candidates)), key=lambda row: candidates.draw(row, self.seed))
        ranking = [Ranked(first, None, f"the first centre, by seed {self.seed}")]
        for row, distance in _farthest(vectors, first, count - 1):
            ranking.append(Ranked(row, distance, f"distance {distance:.3f} from those before it"))
        return candidates.chosen(ranking, n)


def _farthest(vectors: Vectors, first: int, count: int) -> Iterator[tuple[int, float]]:
    """The next centres, each with its distance from the nearest one before it."""
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)
    last = first
    for _ in range(count):
        np.minimum(nearest, 1 - vectors @ vectors[last], out=nearest)
        nearest[last] = -np.inf
        last = int(np.argmax(nearest >= nearest.max() - _SAME))
        yield last, max(0.0, float(nearest[last]))
