"""The value that clustering gives: centres and names of clusters, saved, loaded and applied to vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError

REST = ("rest",)  # name of the cluster of the rows without labels

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_FORMAT = 2
_BLOCK = 4096  # vectors at a time


@dataclass(frozen=True, eq=False)
class Clusters:
    """Centres of clusters of labels; a value that can be saved, loaded and applied to other rows.

    Attributes:
        centres: Shape (k, d), the heaviest cluster first; rounded to six decimals, so that a saved file is exact.
        names: The most typical labels of each cluster, frequent and close to the centre, at most three; after the k
            clusters comes the rest cluster, number k, which has no centre: it takes the rows without labels.
        seed: Seed of k-means.
        embedder: Identity of the embedder that gave the vectors.
        note: Says so if there are fewer clusters than were asked for; else empty.
    """

    centres: Numbers
    names: tuple[tuple[str, ...], ...]
    seed: int
    embedder: str
    note: str = ""

    @property
    def k(self) -> int:
        """Number of clusters with a centre, and the number of the rest cluster."""
        return len(self.centres)

    def closeness(self, vectors: npt.ArrayLike) -> Numbers:
        """Closeness of each vector to each centre, (n, d) → (n, k): the cosine times the vector's length.

        By Euclidean distance the mean vectors of rows with several labels, which are short, would nearly all fall to
        the shortest centre. This closeness is linear: that of a mean of vectors is the mean of theirs.
        """
        points = np.asarray(vectors, dtype=np.float64).reshape(-1, self.centres.shape[1])
        lengths = np.maximum(np.linalg.norm(self.centres, axis=1, keepdims=True), 1e-12)
        directions = self.centres / lengths
        blocks = [points[start : start + _BLOCK] @ directions.T for start in range(0, len(points), _BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.k))

    def nearest(self, vectors: npt.ArrayLike) -> Places:
        """For each vector the number of the nearest cluster, shape (n,); ties: the lower number; needs k >= 1."""
        return closest(self.closeness(vectors))

    def save(self, path: str | Path) -> None:
        """Write the clusters as JSON."""
        body = {
            "format": _FORMAT,
            "shape": self.centres.shape,
            "seed": self.seed,
            "embedder": self.embedder,
            "note": self.note,
            "names": self.names,
            "centres": self.centres.tolist(),
        }
        Path(path).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Clusters:
        """Read clusters that `save` wrote.

        Raises:
            DataError: If the file cannot be read or does not hold clusters.
        """
        try:
            body: Any = json.loads(Path(path).read_text(encoding="utf-8"))
            if body["format"] != _FORMAT:
                raise DataError(f"{path}: clusters of format {body['format']}, expected {_FORMAT}; fit them again")
            names = tuple(tuple(labels) for labels in body["names"])
            centres = np.asarray(body["centres"], dtype=np.float64).reshape(body["shape"])
            return cls(centres, names, body["seed"], body["embedder"], body["note"])
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DataError(f"{path}: not a file of clusters ({fault!r}); fit them again") from None


def closest(closeness: Numbers) -> Places:
    """Place of the greatest value of each row; values that differ by rounding only are ties: the lower place."""
    return np.asarray(np.argmax(np.round(closeness, 9), axis=1), dtype=np.int64)
