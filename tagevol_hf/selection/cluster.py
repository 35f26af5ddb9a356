"""Clusters of labels and of rows: k-means over label vectors (TACOS, arXiv 2507.03673, section 3.1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, rejection, with_columns
from ..tags.embed import Embedder, Vectors

_FORMAT = 1
_NAMES = 3  # labels that name a cluster
_STARTS = 10  # random starts of k-means

CLUSTERS = Features(
    {
        "cluster": Value("int64"),
        "clusters": List(Value("int64")),
        "nearest_other": Value("int64"),
        "rejection": REJECTION,
    }
)

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Centres of clusters of labels; a value that can be saved, loaded and applied to other rows.

    Attributes:
        centres: Shape (k, d), the heaviest cluster first; rounded to six decimals, so that a saved file is exact.
        names: The most typical labels of each cluster, frequent and close to the centre, at most three.
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
        """Number of clusters."""
        return len(self.centres)

    def nearest(self, vectors: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """For each vector the clusters from the nearest to the farthest; (n, d) → (n, k); ties: the lower number.

        Nearness is the cosine: by Euclidean distance the mean vectors of rows with several labels, which are short,
        would nearly all fall to the shortest centre.
        """
        points = np.asarray(vectors, dtype=np.float64)
        lengths = np.maximum(np.linalg.norm(self.centres, axis=1), 1e-12)
        distances = -np.einsum("nd,kd->nk", points, self.centres) / lengths[None, :]
        return np.argsort(np.round(distances, 9), axis=1, kind="stable").astype(np.int64)

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
            raise DataError(f"{path}: not a file of clusters ({fault!r})") from None


def fit_clusters(dataset: Dataset, *, k: int, embedder: Embedder, seed: int = 42) -> Clusters:
    """k-means over the distinct labels of a data set, each weighted by the number of rows that have it.

    The labels are sorted and one thread computes, so neither row order nor the machine's cores change the result.

    Args:
        dataset: Rows with the column `labels`.
        k: Number of clusters, >= 1 (the paper's 50); fewer if there are not so many distinct label vectors.
        embedder: Turns labels into vectors.
        seed: Seed of the ten random starts.

    Raises:
        DataError: If there is no column `labels`, or k is below 1.
    """
    if k < 1:
        raise DataError(f"cluster.k: expected at least 1, got {k}")
    _demand(dataset)
    counts = Counter(label for labels in _label_sets(dataset) for label in labels)
    labels = sorted(counts)
    vectors = embedder.encode(labels)
    points, place = np.unique(vectors, axis=0, return_inverse=True)
    weights = np.zeros(len(points))
    np.add.at(weights, place.ravel(), [counts[label] for label in labels])
    note = "" if len(points) >= k else f"{k} clusters asked for, {len(points)} distinct labels: {len(points)} clusters"
    centres = _heaviest_first(*_k_means(points, weights, min(k, len(points)), seed))
    unnamed = Clusters(centres, ((),) * len(centres), seed, embedder.identity, note)
    return Clusters(centres, _names(unnamed, labels, vectors, counts), seed, embedder.identity, note)


def add_clusters(dataset: Dataset, clusters: Clusters, embedder: Embedder) -> Dataset:
    """The data set with the clusters of its rows.

    Writes `cluster` (the centre nearest to the mean of the row's label vectors, the paper's form), `clusters` (the
    sorted set of its labels' clusters, the form of the paper's released code) and `nearest_other` (of the clusters
    that have rows here the nearest one but its own; null where there is none). A row without labels is rejected with
    "no_tags".

    Raises:
        DataError: If there is no column `labels`, or the embedder is not that of the clusters.
    """
    _demand(dataset)
    if embedder.identity != clusters.embedder:
        raise DataError(
            f"these clusters were fitted with the embedder {clusters.embedder}, got {embedder.identity}; use the same"
        )
    places = _places(_label_sets(dataset), clusters, embedder)
    if places and clusters.k == 0:
        raise DataError("these clusters were fitted on rows without labels; fit them on the rows to be clustered")
    occupied = {order[0] for order, _ in places.values()}

    def read(row: Row) -> dict[str, Any]:
        mark = row.get("rejection")
        labels = tuple(row["labels"] or ())
        if mark is not None or not labels:
            return {"rejection": mark or rejection("cluster", "no_tags", "the row has no label")}
        order, own = places[labels]
        other = next((number for number in order[1:] if number in occupied), None)
        return {"cluster": order[0], "clusters": own, "nearest_other": other, "rejection": None}

    return with_columns(dataset, read, CLUSTERS)


def _label_sets(dataset: Dataset) -> Iterator[tuple[str, ...]]:
    """The labels of each row that is not rejected."""
    have = [name for name in ("labels", "rejection") if name in dataset.column_names]
    for row in iterate(dataset.select_columns(have)):
        if row.get("rejection") is None:
            yield tuple(row["labels"] or ())


def _places(
    label_sets: Iterable[tuple[str, ...]], clusters: Clusters, embedder: Embedder
) -> dict[tuple[str, ...], tuple[list[int], list[int]]]:
    """For each distinct list of labels: the clusters from its mean's nearest on, and its labels' own clusters."""
    sets = sorted({labels for labels in label_sets if labels})
    distinct = sorted({label for labels in sets for label in labels})
    if not distinct or clusters.k == 0:
        return dict.fromkeys(sets, ([], []))
    vectors = embedder.encode(distinct)
    vector = dict(zip(distinct, vectors, strict=True))
    own = dict(zip(distinct, clusters.nearest(vectors)[:, 0].tolist(), strict=True))
    found: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
    for start in range(0, len(sets), 4096):
        block = sets[start : start + 4096]
        means = [np.mean([vector[label] for label in labels], axis=0, dtype=np.float64) for labels in block]
        for labels, order in zip(block, clusters.nearest(means).tolist(), strict=True):
            found[labels] = (order, sorted({own[label] for label in labels}))
    return found


def _k_means(points: Vectors, weights: Numbers, k: int, seed: int) -> tuple[Numbers, Numbers]:
    """Centres and the weight of each, from points that are all different."""
    if k == 0:
        return np.zeros((0, points.shape[1])), np.zeros(0)
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        fitted = KMeans(n_clusters=k, n_init=_STARTS, random_state=seed % 2**32).fit(
            points.astype(np.float64), sample_weight=weights
        )
    totals = np.zeros(k)
    np.add.at(totals, fitted.labels_, weights)
    return np.round(fitted.cluster_centers_, 6), totals


def _heaviest_first(centres: Numbers, weights: Numbers) -> Numbers:
    return centres[np.lexsort((*centres.T[::-1], -weights))] if len(centres) else centres


def _names(
    clusters: Clusters, labels: Sequence[str], vectors: Vectors, counts: Counter[str]
) -> tuple[tuple[str, ...], ...]:
    """The labels with the greatest product of count and closeness to the centre, by cluster."""
    ranked: list[list[tuple[float, str]]] = [[] for _ in range(clusters.k)]
    if labels:
        closest = clusters.nearest(vectors)[:, 0].tolist()
        for label, vector, number in zip(labels, vectors, closest, strict=True):
            centre = clusters.centres[number]
            close = float(centre @ vector) / max(1e-9, float(np.linalg.norm(centre)))
            ranked[number].append((-round(counts[label] * close, 6), label))
    return tuple(tuple(label for _, label in sorted(members)[:_NAMES]) for members in ranked)


def _demand(dataset: Dataset) -> None:
    if "labels" not in dataset.column_names:
        raise DataError(
            f"clusters need the column labels; the data set has: {', '.join(dataset.column_names)}; "
            "apply add_labels first"
        )
