"""How good clusters are: silhouette, sizes, and similarity inside them against random groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset

from ..errors import DataError
from ..rows import iterate
from ..tags.embed import Embedder, Vectors
from .cluster import check_embedder, demand_labels, label_means
from .cluster_centres import Clusters, Numbers, Places

_SAMPLE = 2000  # labels of which the silhouette is computed, at most

_BLOCK = 4096  # different sets of labels at a time

Labels: TypeAlias = tuple[str, ...]
Numbered: TypeAlias = tuple[int, ...]
Rows: TypeAlias = Counter[tuple[Labels, Numbered]]


def cluster_quality(dataset: Dataset, clusters: Clusters, embedder: Embedder) -> dict[str, Any]:
    """Figures about the clusters of a data set, as plain values for JSON; a figure that cannot be had is None.

    - `rows`: rows without a rejection. `memberships`: the sum of the numbers of clusters that each belongs to.
    - `labels`: distinct labels of these rows.
    - `silhouette`: mean over labels of (b - a) / max(a, b), where a is the mean cosine distance to the other labels of
      the same cluster and b that to the labels of the next cluster; from -1 to 1, higher is better; 0 for a label
      that is alone. None with fewer than two clusters that have labels, or where each label is alone.
    - `silhouette_labels`: of how many labels, at most 2,000: a sample drawn with the seed of the clusters.
    - `sizes`: rows of each cluster, by number, without the rest cluster; a row of several clusters counts in each.
    - `rest`: rows in the rest cluster.
    - `empty`, `single_row`: clusters without rows, and with one row.
    - `dominant`: clusters that have more than the share `dominant_above` of the rows: 10 %, but twice the equal share
      1/k where that is more, at most 50 %.
    - `biggest_share`: share of the rows that are in the biggest cluster, from 0 to 1. None without rows.
    - `similarity_inside`: mean cosine of two rows of the same cluster, by the means of their labels' vectors; each
      cluster of two rows or more counts as many times as it has rows. None if there is no such cluster.
    - `similarity_random`: the same in random groups of the same sizes, drawn from the rows with labels: its exact
      expectation, which is the mean over all pairs of rows. None with fewer than two such rows.

    Args:
        dataset: Rows with `labels` and `clusters`, as `add_clusters` gives them.
        clusters: The clusters.
        embedder: The one that they were fitted with.

    Raises:
        DataError: If a column is missing, a row has no cluster, or the embedder is not that of the clusters.
    """
    check_embedder(clusters, embedder)
    rows = _rows(dataset, clusters.k)
    distinct = sorted({label for labels, _ in rows for label in labels})
    vectors = np.asarray(embedder.encode(distinct))
    sums = _Sums(clusters.k, vectors.shape[1] if len(distinct) else 1)
    sums.add(rows, vectors, {label: place for place, label in enumerate(distinct)})
    total = sum(rows.values())
    return {
        "rows": total,
        "memberships": sum(len(numbers) * count for (_, numbers), count in rows.items()),
        "labels": len(distinct),
        **_silhouette_of_sample(vectors, clusters),
        **_sizes(sums.sizes[:-1].tolist(), total),
        "rest": total - int(sums.sizes[-1]),
        "similarity_inside": sums.inside(),
        "similarity_random": sums.random(),
    }


class _Sums:
    """Sums of unit vectors, a cluster each, and last of all rows with labels: enough for the mean cosine of pairs."""

    def __init__(self, k: int, dimensions: int) -> None:
        self.sizes = np.zeros(k + 1, dtype=np.int64)
        self._totals = np.zeros((k + 1, dimensions))
        self._squares = np.zeros(k + 1)

    def add(self, rows: Rows, vectors: Vectors, place_of: dict[str, int]) -> None:
        """Add rows, those with equal labels at once, in an order that does not depend on that of the rows."""
        labelled = sorted((one, count) for one, count in rows.items() if one[0])
        for start in range(0, len(labelled), _BLOCK):
            block = labelled[start : start + _BLOCK]
            means = _unit(label_means([labels for (labels, _), _ in block], vectors, place_of))
            squares = np.sum(means * means, axis=1)
            for number, members in _members(block, len(self.sizes) - 1).items():
                weights = np.array([block[place][1] for place in members])
                self.sizes[number] += weights.sum()
                self._totals[number] += weights @ means[members]
                self._squares[number] += weights @ squares[members]

    def inside(self) -> float | None:
        """The mean of all clusters of two rows or more, each weighted by its rows."""
        found = [(size, self._cosine(number)) for number, size in enumerate(self.sizes[:-1].tolist()) if size > 1]
        total = sum(size for size, _ in found)
        return round(sum(size * cosine for size, cosine in found) / total, 6) if total else None

    def random(self) -> float | None:
        """The mean over all pairs of rows; None with fewer than two."""
        return round(self._cosine(-1), 6) if self.sizes[-1] > 1 else None

    def _cosine(self, number: int) -> float:
        size, total = int(self.sizes[number]), self._totals[number]
        return float((total @ total - self._squares[number]) / (size * (size - 1)))


def _members(block: Sequence[tuple[tuple[Labels, Numbered], int]], every: int) -> dict[int, list[int]]:
    """Places in a block by cluster; all of them under the number `every`."""
    found: dict[int, list[int]] = {every: list(range(len(block)))}
    for place, ((_, numbers), _) in enumerate(block):
        for number in numbers:
            found.setdefault(number, []).append(place)
    return found


def silhouette(vectors: Numbers, numbers: Places) -> float | None:
    """Mean silhouette by the cosine distance (Rousseeuw 1987) of vectors of unit length.

    Args:
        vectors: Shape (n, d).
        numbers: The cluster of each, shape (n,).

    Returns:
        From -1 to 1; None with fewer than two clusters, or where each vector is alone in its cluster.
    """
    present, place, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    if not 1 < len(present) < len(vectors):
        return None
    member = np.eye(len(present))[place.ravel()]
    sums = np.maximum(1 - vectors @ vectors.T, 0) @ member
    every = np.arange(len(vectors))
    own = sizes[place.ravel()]
    inside = sums[every, place.ravel()] / np.maximum(own - 1, 1)
    others = sums / sizes
    others[every, place.ravel()] = np.inf
    outside = others.min(axis=1)
    widest = np.maximum(inside, outside)
    values = np.where((own > 1) & (widest > 0), (outside - inside) / np.where(widest > 0, widest, 1), 0.0)
    return float(values.mean())


def _silhouette_of_sample(vectors: Vectors, clusters: Clusters) -> dict[str, Any]:
    """The silhouette of at most 2,000 labels, each in the cluster that is nearest to it."""
    if clusters.k == 0 or not len(vectors):
        return {"silhouette": None, "silhouette_labels": 0}
    if len(vectors) > _SAMPLE:
        drawn = np.random.default_rng(clusters.seed % 2**32).choice(len(vectors), _SAMPLE, replace=False)
        vectors = vectors[np.sort(drawn)]
    sample = np.asarray(vectors, dtype=np.float64)
    found = silhouette(_unit(sample), clusters.nearest(sample))
    return {"silhouette": None if found is None else round(found, 6), "silhouette_labels": len(vectors)}


def _sizes(sizes: Sequence[int], rows: int) -> dict[str, Any]:
    """The figures that count rows."""
    above = min(0.5, max(0.1, 2 / max(1, len(sizes))))
    return {
        "sizes": list(sizes),
        "empty": list(sizes).count(0),
        "single_row": list(sizes).count(1),
        "dominant": sum(size > above * rows for size in sizes),
        "dominant_above": round(above, 6),
        "biggest_share": round(max(sizes, default=0) / rows, 6) if rows else None,
    }


def _unit(vectors: Numbers) -> Numbers:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float64)


def _rows(dataset: Dataset, k: int) -> Rows:
    """How many rows that are not rejected have which labels and clusters."""
    demand_labels(dataset)
    if "clusters" not in dataset.column_names:
        raise DataError(
            f"the quality of clusters needs the column clusters; the data set has: {', '.join(dataset.column_names)}; "
            "apply add_clusters first"
        )
    have = [name for name in ("labels", "clusters", "rejection") if name in dataset.column_names]
    found: Rows = Counter()
    known: dict[str, str] = {}  # so that each label is held once
    for row in iterate(dataset.select_columns(have)):
        if row.get("rejection") is not None:
            continue
        if not row["clusters"] or not 0 <= min(row["clusters"]) <= max(row["clusters"]) <= k:
            raise DataError(
                f"the quality of clusters: expected clusters from 0 to {k} in each row, got {row['clusters']}; apply "
                "add_clusters with these clusters first"
            )
        labels = tuple(sorted(known.setdefault(label, label) for label in row["labels"] or ()))
        found[labels, tuple(row["clusters"])] += 1
    return found
