"""Places of rows in the plane, for a picture of the clusters: rows with similar labels lie near each other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import cos, pi, sin, sqrt
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..errors import DataError
from ..rows import iterate, seed_for
from ..tags.embed import Embedder
from .cluster import demand_labels, label_means
from .cluster_centres import Numbers

_FORMAT = 1
_MOST = 3000
_FEW = 50  # distinct vectors below which neighbours say little
_WIDE = 50  # dimensions that t-SNE gets, as its authors advise
_PERPLEXITY, _ROUNDS, _ANGLE = 30.0, 500, 0.7  # a wider angle is faster and coarser
_APART, _FARTHEST = 0.003, 0.03  # radius of one of n rows at the same place, times √n, and at most

Labels = tuple[str, ...]
_Row = tuple[str, Labels, int]


@dataclass(frozen=True)
class Places:
    """Rows in the plane; a value that can be saved.

    Attributes:
        rows: Rows that there are; those that were drawn may be fewer.
        points: (id, x, y, cluster) of each drawn row, x and y from 0 to 1; each beginning is a fair sample.
        how: How the places were found, in a few words.
    """

    rows: int
    points: tuple[tuple[str, float, float, int], ...]
    how: str

    def save(self, path: str | Path) -> None:
        """Write the places as JSON, whole or not at all."""
        target = Path(path)
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        body = {"format": _FORMAT, "rows": self.rows, "how": self.how, "points": self.points}
        fresh.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
        fresh.replace(target)


def place_rows(dataset: Dataset, embedder: Embedder, seed: int = 42, most: int = _MOST) -> Places:
    """Places of rows by the vectors that put them into their clusters: the means of their labels' vectors.

    Of few different vectors the two main components are taken; else t-SNE (van der Maaten and Hinton 2008) of unit
    vectors, begun from these. Rows of equal vectors lie in a small disc, each at a point that its id decides. The
    order of the rows has no say, and one thread computes; another processor may round otherwise, and so draw
    another picture of the same neighbours.

    Args:
        dataset: Rows with `id`, `labels` and `cluster`, as `add_clusters` gives them; rejected ones are left out.
        embedder: The one of the clusters.
        seed: Of the drawing, and of t-SNE.
        most: Rows that are drawn at most, >= 1; one of each cluster at least, where there are not more clusters.

    Raises:
        DataError: If a column is missing.
    """
    drawn, rows = _drawn(dataset, seed, most)
    sets = sorted({labels for _, labels, _ in drawn})
    vectors = _vectors(sets, embedder)
    points, place = np.unique(vectors, axis=0, return_inverse=True)
    flat, how = _flat(points, seed)
    home = dict(zip(sets, place.ravel().tolist(), strict=True))
    spots = _spots([(row_id, home[labels]) for row_id, labels, _ in drawn], flat, seed)
    clusters = [cluster for _, _, cluster in drawn]
    ids = [row_id for row_id, _, _ in drawn]
    return Places(rows, tuple((i, x, y, n) for i, (x, y), n in zip(ids, spots, clusters, strict=True)), how)


def _rows(dataset: Dataset) -> Iterator[_Row]:
    """Id, labels and cluster of each row that is not rejected."""
    demand_labels(dataset)
    if missing := [name for name in ("id", "cluster") if name not in dataset.column_names]:
        raise DataError(f"places of rows need the column {missing[0]}; apply add_clusters first")
    have = [name for name in ("id", "labels", "cluster", "rejection") if name in dataset.column_names]
    for row in iterate(dataset.select_columns(have)):
        if row.get("rejection") is None:
            yield row["id"], tuple(sorted(row["labels"] or ())), row["cluster"]


def _drawn(dataset: Dataset, seed: int, most: int) -> tuple[list[_Row], int]:
    """The first of each cluster in an order by lot, then the others in that order; and how many rows there are."""
    first: dict[int, tuple[int, _Row]] = {}
    rows = 0

    def by_lot() -> Iterator[tuple[int, _Row]]:
        nonlocal rows
        for row in _rows(dataset):
            entry = seed_for(seed, row[0], "places"), row
            first[row[2]] = min(first.get(row[2], entry), entry)
            rows += 1
            yield entry

    least = nsmallest(most, by_lot())
    leading = sorted(first.values())
    taken = {row[0] for _, row in leading}
    others = [entry for entry in least if entry[1][0] not in taken]
    return [row for _, row in [*leading, *others][:most]], rows


def _vectors(sets: Sequence[Labels], embedder: Embedder) -> Numbers:
    """A unit vector for each set of labels; zeros for the empty one."""
    labelled = [labels for labels in sets if labels]
    distinct = sorted({label for labels in labelled for label in labels})
    values = np.asarray(embedder.encode(distinct), dtype=np.float64)
    means = label_means(labelled, values, {label: place for place, label in enumerate(distinct)})
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    units = np.round(means / np.where(lengths > 0, lengths, 1), 6)
    return np.concatenate([np.zeros((len(sets) - len(labelled), values.shape[1])), units])  # the empty set sorts first


def _flat(points: Numbers, seed: int) -> tuple[Numbers, str]:
    """The points in a square of side 1."""
    if len(points) < 3 or points.shape[1] < 2:
        flat = np.zeros((len(points), 2))
        flat[:, 0] = np.arange(len(points))
        return _square(flat), "one place a set of labels"
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it has no types

    with threadpool_limits(limits=1):
        wide = min(_WIDE, len(points), points.shape[1])
        main = PCA(n_components=wide, svd_solver="full").fit_transform(points)
        if len(points) < _FEW:
            return _square(main[:, :2]), "the two main components of the label vectors"
        from sklearn.manifold import TSNE

        near = min(_PERPLEXITY, (len(points) - 1) / 3)
        sne = TSNE(perplexity=near, init="pca", max_iter=_ROUNDS, angle=_ANGLE, random_state=seed % 2**32, n_jobs=1)
        return _square(sne.fit_transform(main)), "t-SNE of the label vectors"


def _square(flat: Numbers) -> Numbers:
    """Moved and scaled, both axes alike, into the square from _FARTHEST to 1 - _FARTHEST."""
    if not len(flat):
        return flat
    low, high = flat.min(axis=0), flat.max(axis=0)
    side = float((high - low).max()) or 1.0
    return np.asarray(0.5 + (flat - (low + high) / 2) / side * (1 - 2 * _FARTHEST), dtype=np.float64)


def _spots(rows: Sequence[tuple[str, int]], flat: Numbers, seed: int) -> list[tuple[float, float]]:
    """The place of each row; those of one vector are spread over a disc."""
    sizes = np.bincount([home for _, home in rows], minlength=len(flat))
    spots = []
    for row_id, home in rows:
        x, y = flat[home].tolist()
        if sizes[home] > 1:
            radius = min(_FARTHEST, _APART * sqrt(sizes[home])) * sqrt(_lot(seed, row_id, 0))
            angle = 2 * pi * _lot(seed, row_id, 1)
            x, y = x + radius * cos(angle), y + radius * sin(angle)
        spots.append((round(x, 5), round(y, 5)))
    return spots


def _lot(seed: int, row_id: str, draw: int) -> float:
    """A number in [0, 1)."""
    return seed_for(seed, row_id, "place", draw) / 2**31
