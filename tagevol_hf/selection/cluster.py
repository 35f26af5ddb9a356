"""Clusters of labels and of rows: k-means over label vectors (TACOS, arXiv 2507.03673, section 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, with_batches
from ..tags.embed import Embedder, Vectors
from .cluster_centres import REST, Clusters, Numbers, Places, closest
from .cluster_sets import keep_one_per_label_set

__all__ = ["Clusters", "add_clusters", "fit_clusters", "keep_one_per_label_set"]

Assignment: TypeAlias = Literal["paper", "release"]
Labels: TypeAlias = tuple[str, ...]

_NAMES = 3  # labels that name a cluster
_STARTS = 10  # random starts of k-means
_BLOCK = 4096  # label sets at a time

CLUSTERS = Features(
    {
        "cluster": Value("int64"),
        "clusters": List(Value("int64")),
        "nearest_other": Value("int64"),
        "rejection": REJECTION,
    }
)


@dataclass(frozen=True)
class _Place:
    """Where the rows of one set of labels belong."""

    cluster: int
    clusters: list[int]
    nearest_other: int | None


def fit_clusters(dataset: Dataset, *, k: int, embedder: Embedder, seed: int = 42) -> Clusters:
    """k-means over the distinct labels of a data set, each weighted by the number of rows that have it.

    The labels are sorted and one thread computes, so neither row order nor the machine's cores change the result.

    Args:
        dataset: Rows with the column `labels`; rejected ones and those without labels have no say.
        k: Number of clusters, >= 1 (the paper's 50); fewer if there are not so many distinct label vectors.
        embedder: Turns labels into vectors.
        seed: Seed of the ten random starts.

    Raises:
        DataError: If there is no column `labels`, or k is below 1.
    """
    if k < 1:
        raise DataError(f"cluster.k: expected at least 1, got {k}")
    demand_labels(dataset)
    counts = Counter(label for labels in label_sets(dataset) for label in labels)
    labels = sorted(counts)
    vectors = embedder.encode(labels)
    points, place = np.unique(vectors, axis=0, return_inverse=True)
    weights = np.zeros(len(points))
    np.add.at(weights, place.ravel(), [counts[label] for label in labels])
    note = "" if len(points) >= k else f"{k} clusters asked for, {len(points)} distinct labels: {len(points)} clusters"
    centres = _heaviest_first(*_k_means(points, weights, min(k, len(points)), seed))
    unnamed = Clusters(centres, (), seed, embedder.identity, note)
    names = (*_names(unnamed, labels, vectors, counts), REST)
    return Clusters(centres, names, seed, embedder.identity, note)


def add_clusters(dataset: Dataset, clusters: Clusters, embedder: Embedder, assign: Assignment = "paper") -> Dataset:
    """The data set with the clusters of its rows.

    Writes `cluster` (the row's home: the centre nearest to the mean of its label vectors), `clusters` (those that the
    row belongs to) and `nearest_other` (of the clusters that have rows here the one nearest to that mean, but for
    those in `clusters`; null where there is none). A row without labels goes to the rest cluster, number
    `clusters.k`, which has no nearest other. Rejected rows pass with nulls.

    Args:
        dataset: Rows with the column `labels`.
        clusters: As `fit_clusters` gives them.
        embedder: The one that they were fitted with.
        assign: "paper": a row belongs to its home alone. "release": to the clusters of all its labels, as in the
            paper's released code; the home is not always among them.

    Raises:
        DataError: If there is no column `labels`, `assign` is unknown, or the embedder is not that of the clusters.
    """
    demand_labels(dataset)
    check_embedder(clusters, embedder)
    if assign not in get_args(Assignment):
        raise DataError(f"cluster.assign: expected {' or '.join(get_args(Assignment))}, got {assign!r}")
    placing = _Placing(dataset, clusters, embedder, assign)

    def read(rows: Sequence[Row]) -> list[dict[str, Any]]:
        places = iter(placing.places([_key(row["labels"]) for row in rows if row.get("rejection") is None]))
        return [
            {"rejection": row["rejection"]} if row.get("rejection") is not None else asdict(next(places))
            for row in rows
        ]

    return with_batches(dataset, read, CLUSTERS)


def label_sets(dataset: Dataset) -> Iterator[Labels]:
    """The sorted labels of each row that is not rejected, in order."""
    have = [name for name in ("labels", "rejection") if name in dataset.column_names]
    for row in iterate(dataset.select_columns(have)):
        if row.get("rejection") is None:
            yield _key(row["labels"])


def label_means(sets: Sequence[Labels], values: Vectors | Numbers, place_of: dict[str, int]) -> Numbers:
    """For each set of labels, none of them empty, the mean of its labels' rows of `values`."""
    if not sets:
        return np.zeros((0, values.shape[1]))
    blocks = []
    for start in range(0, len(sets), _BLOCK):
        block = sets[start : start + _BLOCK]
        sizes = np.array([len(labels) for labels in block])
        flat = np.asarray(values[[place_of[label] for labels in block for label in labels]], dtype=np.float64)
        blocks.append(np.add.reduceat(flat, np.cumsum(sizes) - sizes, axis=0) / sizes[:, None])
    return np.concatenate(blocks)


def check_embedder(clusters: Clusters, embedder: Embedder) -> None:
    """Refuse an embedder that is not the clusters' own.

    Raises:
        DataError: Names both.
    """
    if embedder.identity != clusters.embedder:
        raise DataError(
            f"these clusters were fitted with the embedder {clusters.embedder}, got {embedder.identity}; use the same"
        )


def demand_labels(dataset: Dataset) -> None:
    """Refuse a data set without the column `labels`.

    Raises:
        DataError: Says what there is and what to do.
    """
    if "labels" not in dataset.column_names:
        raise DataError(
            f"clusters need the column labels; the data set has: {', '.join(dataset.column_names)}; "
            "apply add_labels first"
        )


def _key(labels: Sequence[str] | None) -> Labels:
    return tuple(sorted(labels or ()))


class _Placing:
    """Where rows belong, by their labels; what it holds does not grow with the rows."""

    def __init__(self, dataset: Dataset, clusters: Clusters, embedder: Embedder, assign: str) -> None:
        distinct = sorted({label for labels in label_sets(dataset) for label in labels})
        if distinct and clusters.k == 0:
            raise DataError("these clusters were fitted on rows without labels; fit them on the rows to be clustered")
        self._rest, self._by_label = clusters.k, assign == "release"
        self._place_of = {label: place for place, label in enumerate(distinct)}
        self._closeness = clusters.closeness(embedder.encode(distinct))
        self._of_label = closest(self._closeness).tolist() if distinct else []
        self._occupied: list[int] = []
        for block in _blocks(labels for labels in label_sets(dataset) if labels):
            found = {number for numbers in self._own(block, self._of_sets(block)) for number in numbers}
            self._occupied = sorted(found.union(self._occupied))

    def places(self, sets: Sequence[Labels]) -> list[_Place]:
        """For each set of labels; the empty one belongs to the rest cluster."""
        labelled = [labels for labels in sets if labels]
        if not labelled:
            return [self._unlabelled() for _ in sets]
        of_sets = self._of_sets(labelled)
        own = self._own(labelled, of_sets)
        others = _nearest_others(of_sets, own, self._occupied)
        found = map(_Place, closest(of_sets).tolist(), own, others)
        return [next(found) if labels else self._unlabelled() for labels in sets]

    def _of_sets(self, sets: Sequence[Labels]) -> Numbers:
        return label_means(sets, self._closeness, self._place_of)  # closeness is linear

    def _own(self, sets: Sequence[Labels], of_sets: Numbers) -> list[list[int]]:
        """The clusters that each belongs to."""
        if not self._by_label:
            return [[home] for home in closest(of_sets).tolist()]
        return [sorted({self._of_label[self._place_of[label]] for label in labels}) for labels in sets]

    def _unlabelled(self) -> _Place:
        return _Place(self._rest, [self._rest], None)


def _blocks(sets: Iterable[Labels]) -> Iterator[list[Labels]]:
    rest = iter(sets)
    while block := list(islice(rest, _BLOCK)):
        yield block


def _nearest_others(closeness: Numbers, own: Sequence[Sequence[int]], occupied: Sequence[int]) -> list[int | None]:
    """The closest of the clusters that rows are in, but for those of the row itself."""
    open_to = np.full(closeness.shape, -np.inf)
    open_to[:, list(occupied)] = closeness[:, list(occupied)]
    sizes = [len(numbers) for numbers in own]
    open_to[np.repeat(np.arange(len(own)), sizes), [number for numbers in own for number in numbers]] = -np.inf
    there = open_to.max(axis=1) > -np.inf
    return [number if some else None for number, some in zip(closest(open_to).tolist(), there.tolist(), strict=True)]


def _k_means(points: Vectors, weights: Numbers, k: int, seed: int) -> tuple[Numbers, Numbers]:
    """Centres and the weight of each, from points that are all different."""
    if k == 0:
        return np.zeros((0, points.shape[1])), np.zeros(0)
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it has no types

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
        closeness = clusters.closeness(vectors)
        numbers: Places = closest(closeness)
        for label, number, close in zip(labels, numbers.tolist(), closeness.max(axis=1).tolist(), strict=True):
            ranked[number].append((-round(counts[label] * close, 6), label))
    return tuple(tuple(label for _, label in sorted(members)[:_NAMES]) for members in ranked)
