"""How far apart instructions lie in the space of an embedder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..tags.embed import Embedder

_BATCH = 1000


@dataclass(frozen=True)
class Directions:
    """What is left of many unit vectors: enough for their mean distance.

    Attributes:
        count: How many.
        total: Their sum, in float64.
    """

    count: int
    total: npt.NDArray[np.float64]

    @classmethod
    def of(cls, texts: Sequence[str], embedder: Embedder) -> Directions:
        """Embed texts, a batch at a time."""
        total: npt.NDArray[np.float64] = np.zeros(0)
        for start in range(0, len(texts), _BATCH):
            part = embedder.encode(texts[start : start + _BATCH]).sum(axis=0, dtype=np.float64)
            total = total + part if total.size else part
        return cls(len(texts), total)

    @property
    def spread(self) -> float | None:
        """Mean cosine distance of two different texts, in 0..2; None for fewer than two.

        Exact without looking at pairs: the cosines of all ordered pairs add up to the squared length of the sum,
        less one for each text with itself.
        """
        if self.count < 2:
            return None
        cosines = float(self.total @ self.total) - self.count
        return max(0.0, 1 - cosines / (self.count * (self.count - 1)))


def together(parts: Iterable[Directions]) -> Directions:
    """Those of all texts, from those of the parts."""
    parts = [part for part in parts if part.count]
    return Directions(sum(part.count for part in parts), sum((part.total for part in parts), np.zeros(1)))


def definition(embedder: Embedder) -> str:
    """What the spread means, with the embedder's name."""
    return f"Mean cosine distance of two instructions, over all pairs, in 0..2; embedder {embedder.identity}."
