"""TACOS: a small subset by open tags and comparison (arXiv 2507.03673)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from datasets import Dataset, concatenate_datasets

from ..engines.base import Engine
from ..engines.stored import stored
from ..rows import split_rejected
from ..tags.embed import open_embedder
from ..tags.normalize import Normalization, TagNormalizer, add_labels, fit_normalizer
from ..tags.taggers import OpenTagger
from .choice import Selection
from .choose import select
from .cluster import Clusters, add_clusters, fit_clusters
from .compare import Comparer
from .length_control import control_length
from .pairing import Orders
from .plans import Plan
from .quota import Allocation
from .reliability import reliability
from .rounds import compare_rows
from .scores import add_scores, fold_scores


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
        reliability: As `reliability.reliability` gives it.
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
    normalization: Normalization | None = None,
    plan: Plan = "k-regular",
    comparisons: int = 2,
    orders: Orders = "both",
    score: Literal["mean", "bradley-terry"] = "mean",
    allocate: Allocation = "equal",
    embedder: str = "auto",
    seed: int = 42,
) -> TacosResult:
    """Choose n rows: open tags → canonical labels → clusters → comparisons inside them → the best of each.

    Args:
        dataset: Rows as `prepare` gives them, with responses.
        engine: Tags and compares.
        n: How many rows to choose, >= 0.
        k: Number of clusters; None takes one for 20 chosen rows, at most the paper's 50.
        normalization: How tags become labels; None takes the defaults.
        plan: Who is compared with whom, see `plans.links`.
        comparisons: How many others each row is compared with at least, >= 1.
        orders: Whether each pair is shown in "both" orders or in "one".
        score: How comparisons become a score, see `fold_scores`.
        allocate: How many rows of each cluster, see `select`.
        embedder: As in `open_embedder`.
        seed: Seed of all random choices.

    Raises:
        DataError: If a column is missing or a number is out of range.
        EngineError: If the engine fails.
    """
    engine, vectors = stored(engine), open_embedder(embedder)
    rows, unfit = split_rejected(dataset)

    rows, untagged = split_rejected(OpenTagger(engine, seed=seed).apply(rows))
    normalizer = fit_normalizer(rows, normalization or Normalization(), vectors)
    rows = add_labels(rows, normalizer)

    clusters = fit_clusters(rows, k=k or max(1, min(50, round(n / 20))), embedder=vectors, seed=seed)
    rows, unclustered = split_rejected(add_clusters(rows, clusters, vectors))

    comparer = Comparer(engine, seed=seed)
    compared = compare_rows(rows, comparer, plan=plan, comparisons=comparisons, orders=orders, seed=seed)
    scored = control_length(add_scores(rows, fold_scores(compared, score)))
    rows, unscored = split_rejected(scored)

    selection = select(rows, n=n, allocate=allocate)
    return TacosResult(
        selected=selection.apply(rows),
        not_chosen=rows.select(selection.left),
        rejected=concatenate_datasets([unfit, untagged, unclustered, unscored]),
        comparisons=compared,
        normalizer=normalizer,
        clusters=clusters,
        reliability=reliability(compared, rows),
        selection=selection,
    )
