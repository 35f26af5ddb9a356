"""How good clusters are: silhouette, sizes, and similarity inside them against random groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from ..errors import DataError
from ..rows import iterate
from ..tags.embed import Embedder
from .cluster import check_embedder, demand_labels, label_means
from .cluster_centres import Clusters, Numbers, Places

_SAMPLE = 2000  # labels of which the silhouette is computed, at most

Groups = Mapping[int, Sequence[int]]


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
    vectors = np.asarray(embedder.encode(distinct), dtype=np.float64)
    place_of = {label: place for place, label in enumerate(distinct)}
    labelled = [(labels, numbers) for labels, numbers in rows if labels]
    means = _unit(label_means([labels for labels, _ in labelled], vectors, place_of))
    groups = _groups([numbers for _, numbers in labelled], clusters.k)
    random = _mean_cosine(means)
    return {
        "rows": len(rows),
        "memberships": sum(len(numbers) for _, numbers in rows),
        "labels": len(distinct),
        **_silhouette_of_sample(vectors, clusters),
        **_sizes(rows, groups, clusters.k),
        "similarity_inside": _similarity_inside(means, groups),
        "similarity_random": None if random is None else round(random, 6),
    }


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


def _silhouette_of_sample(vectors: Numbers, clusters: Clusters) -> dict[str, Any]:
    """The silhouette of at most 2,000 labels, each in the cluster that is nearest to it."""
    if clusters.k == 0 or not len(vectors):
        return {"silhouette": None, "silhouette_labels": 0}
    if len(vectors) > _SAMPLE:
        drawn = np.random.default_rng(clusters.seed % 2**32).choice(len(vectors), _SAMPLE, replace=False)
        vectors = vectors[np.sort(drawn)]
    found = silhouette(_unit(vectors), clusters.nearest(vectors))
    return {"silhouette": None if found is None else round(found, 6), "silhouette_labels": len(vectors)}


def _sizes(rows: Sequence[tuple[tuple[str, ...], Sequence[int]]], groups: Groups, k: int) -> dict[str, Any]:
    """The figures that count rows."""
    sizes = [len(groups[number]) for number in range(k)]
    above = min(0.5, max(0.1, 2 / max(1, k)))
    return {
        "sizes": sizes,
        "rest": sum(not labels for labels, _ in rows),
        "empty": sizes.count(0),
        "single_row": sizes.count(1),
        "dominant": sum(size > above * len(rows) for size in sizes),
        "dominant_above": round(above, 6),
        "biggest_share": round(max(sizes, default=0) / len(rows), 6) if rows else None,
    }


def _similarity_inside(means: Numbers, groups: Groups) -> float | None:
    found = [(len(members), _mean_cosine(means[list(members)])) for members in groups.values() if len(members) > 1]
    total = sum(size for size, _ in found)
    return round(sum(size * (cosine or 0.0) for size, cosine in found) / total, 6) if total else None


def _mean_cosine(vectors: Numbers) -> float | None:
    """Mean cosine over all pairs of different vectors of unit length; None with fewer than two."""
    count = len(vectors)
    if count < 2:
        return None
    total = np.sum(vectors, axis=0)
    return float((total @ total - np.sum(vectors * vectors)) / (count * (count - 1)))


def _groups(numbers: Sequence[Sequence[int]], k: int) -> Groups:
    """Places of the rows of each cluster."""
    groups: dict[int, list[int]] = {number: [] for number in range(k)}
    for place, own in enumerate(numbers):
        for number in own:
            groups[number].append(place)
    return groups


def _unit(vectors: Numbers) -> Numbers:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float64)


def _rows(dataset: Dataset, k: int) -> list[tuple[tuple[str, ...], Sequence[int]]]:
    """Labels and clusters of each row that is not rejected, in an order that does not depend on that of the rows."""
    demand_labels(dataset)
    if "clusters" not in dataset.column_names:
        raise DataError(
            f"the quality of clusters needs the column clusters; the data set has: {', '.join(dataset.column_names)}; "
            "apply add_clusters first"
        )
    have = [name for name in ("labels", "clusters", "rejection") if name in dataset.column_names]
    found = []
    for row in iterate(dataset.select_columns(have)):
        if row.get("rejection") is not None:
            continue
        if not row["clusters"] or not 0 <= min(row["clusters"]) <= max(row["clusters"]) <= k:
            raise DataError(
                f"the quality of clusters: expected clusters from 0 to {k} in each row, got {row['clusters']}; apply "
                "add_clusters with these clusters first"
            )
        found.append((tuple(sorted(row["labels"] or ())), tuple(row["clusters"])))
    return sorted(found)
