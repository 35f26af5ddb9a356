"""TACOS: a small subset by open tags and comparison (arXiv 2507.03673), and its selection rule (section 3.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from datasets import Dataset, Features, Value, concatenate_datasets

from ..engines.base import Engine
from ..engines.stored import stored
from ..errors import DataError
from ..rows import Row, iterate, split_rejected, with_columns
from ..tags.embed import open_embedder
from ..tags.normalize import TagNormalizer, add_labels, fit_normalizer
from ..tags.taggers import OpenTagger
from .cluster import Clusters, add_clusters, fit_clusters
from .compare import Comparer, add_scores, fold_scores, pairs, reliability

CHOSEN = Features({"cluster_rank": Value("int64"), "why": Value("string")})

_NEEDS = ("id", "cluster", "score")


@dataclass(frozen=True)
class Choice:
    """One chosen row.

    Attributes:
        index: Its place in the data set.
        id: Its id.
        cluster: Its cluster.
        rank: Its place in the cluster by score, from 1.
        score: Its score, or None where the data set had none.
        why: The same in words.
    """

    index: int
    id: str
    cluster: int
    rank: int
    score: float | None
    why: str


@dataclass(frozen=True)
class Selection:
    """Which rows were chosen (a pick), in the order of the data set.

    Attributes:
        choices: The chosen rows.
        left: Places of the other rows.
        quotas: How many were taken of each cluster.
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


def select(dataset: Dataset, *, n: int) -> Selection:
    """The best rows of each cluster, n in all.

    From the smallest cluster to the largest (ties: the lower number), each gives its share of what is still to be
    chosen; what a small one lacks goes to the larger ones. Inside a cluster the score decides, and the id where
    scores are equal, so row order has no say. A row without a score comes last.

    Args:
        dataset: Rows with the columns `id`, `cluster` and `score`, without rejected ones.
        n: How many, >= 0; all rows, and a warning, if there are fewer.

    Raises:
        DataError: If a column is missing, a row is rejected or has no cluster, an id stands there twice, or n is
            negative.
    """
    rows = _rows(dataset, n)
    clusters: dict[int, list[tuple[float, str, int]]] = {}
    for index, row in enumerate(rows):
        score = -row["score"] if row["score"] is not None else float("inf")
        clusters.setdefault(row["cluster"], []).append((score, row["id"], index))
    quotas = quota({number: len(members) for number, members in clusters.items()}, n)
    choices = [
        _choice(rows[index], index, rank, len(members))
        for number, members in clusters.items()
        for rank, (_, _, index) in enumerate(sorted(members)[: quotas[number]], 1)
    ]
    choices.sort(key=lambda choice: choice.index)
    chosen = {choice.index for choice in choices}
    left = tuple(index for index in range(len(rows)) if index not in chosen)
    warning = f"{n} rows asked for, there are {len(rows)}: all are taken" if n > len(rows) else ""
    return Selection(tuple(choices), left, quotas, n, warning)


def quota(sizes: Mapping[int, int], n: int) -> dict[int, int]:
    """How many rows to take of each cluster: equal shares, with what small clusters lack carried on to larger ones.

    Args:
        sizes: Rows of each cluster.
        n: How many rows in all, >= 0; the sum of the result is min(n, sum of the sizes).
    """
    taken: dict[int, int] = {}
    for place, number in enumerate(sorted(sizes, key=lambda number: (sizes[number], number))):
        taken[number] = min(sizes[number], n // (len(sizes) - place))
        n -= taken[number]
    return dict(sorted(taken.items()))


@dataclass(frozen=True)
class TacosResult:
    """Everything that `tacos` found; selected + not_chosen + rejected are the rows that came in.

    Attributes:
        selected: The chosen rows, each with its `cluster`, `score`, `cluster_rank` and `why`.
        not_chosen: Good rows that were left.
        rejected: Rows that left on the way, each with its `rejection`.
        comparisons: The pair-rows with their scores, the failed ones included.
        normalizer: The tag table.
        clusters: The clusters of the labels.
        reliability: As `compare.reliability` gives it.
        selection: The choice in detail.
    """

    selected: Dataset
    not_chosen: Dataset
    rejected: Dataset
    comparisons: Dataset
    normalizer: TagNormalizer
    clusters: Clusters
    reliability: Mapping[str, Any]
    selection: Selection


def tacos(
    dataset: Dataset,
    engine: Engine,
    *,
    n: int = 1000,
    k: int | None = None,
    comparisons: int = 2,
    orders: Literal["both", "one"] = "both",
    embedder: str = "builtin",
    seed: int = 42,
) -> TacosResult:
    """Choose n rows: open tags → canonical labels → clusters → comparisons inside them → the best of each.

    Args:
        dataset: Rows as `prepare` gives them, with responses.
        engine: Tags and compares.
        n: How many rows to choose, >= 0.
        k: Number of clusters; None takes one for 20 chosen rows, at most the paper's 50.
        comparisons: How many others each row is compared with at least.
        orders: Whether each pair is shown in "both" orders or in "one".
        embedder: As in `open_embedder`.
        seed: Seed of all random choices.

    Raises:
        DataError: If a column is missing or a number is out of range.
        EngineError: If the engine fails.
    """
    engine, vectors = stored(engine), open_embedder(embedder)
    rows, unfit = split_rejected(dataset)

    rows, untagged = split_rejected(OpenTagger(engine, seed=seed).apply(rows))
    normalizer = fit_normalizer(rows, embedder=vectors)
    rows = add_labels(rows, normalizer)

    clusters = fit_clusters(rows, k=k or max(1, min(50, round(n / 20))), embedder=vectors, seed=seed)
    rows, unclustered = split_rejected(add_clusters(rows, clusters, vectors))

    planned = pairs(rows, comparisons=comparisons, orders=orders, seed=seed)
    compared = Comparer(engine, seed=seed).apply(planned)
    rows, unscored = split_rejected(add_scores(rows, fold_scores(compared)))

    selection = select(rows, n=n)
    return TacosResult(
        selected=selection.apply(rows),
        not_chosen=rows.select(selection.left),
        rejected=concatenate_datasets([unfit, untagged, unclustered, unscored]),
        comparisons=compared,
        normalizer=normalizer,
        clusters=clusters,
        reliability=reliability(compared),
        selection=selection,
    )


def _rows(dataset: Dataset, n: int) -> Sequence[Row]:
    """The columns that the selection reads, checked."""
    if n < 0:
        raise DataError(f"select.n: expected 0 or more, got {n}")
    missing = [name for name in _NEEDS if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"select needs the columns {', '.join(missing)}; the data set has: {', '.join(dataset.column_names)}; "
            "apply add_clusters and add_scores first"
        )
    have = [name for name in (*_NEEDS, "rejection") if name in dataset.column_names]
    rows = list(iterate(dataset.select_columns(have)))
    for row in rows:
        if row.get("rejection") is not None or row["cluster"] is None:
            raise DataError(f"select: row {row['id']!r} is rejected or has no cluster; take split_rejected(dataset)[0]")
    twice = [row_id for row_id, count in Counter(row["id"] for row in rows).items() if count > 1]
    if twice:
        raise DataError(f"select needs different ids; {twice[0]!r} stands there twice")
    return rows


def _choice(row: Row, index: int, rank: int, size: int) -> Choice:
    score = "no score" if row["score"] is None else f"score {row['score']:.2f}"
    why = f"number {rank} of {size} in cluster {row['cluster']}, {score}"
    return Choice(index, row["id"], row["cluster"], rank, row["score"], why)
