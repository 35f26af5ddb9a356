"""The steps of TACOS, and the measures."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..errors import DataError
from ..tags.taggers import OpenTagger
from .journey import Journey

_SAID = ("difficulty", "diversity", "contaminated_share")  # of the measures; all are in measures.json


def open_tags(journey: Journey, options: Any) -> None:
    """Open tags of each query (map)."""
    journey.ask(OpenTagger, "open_tags", options, granularity=options.granularity, max_tags=options.max_tags)


def normalize_tags(journey: Journey, options: Any) -> None:
    """Open tags → canonical labels (fold, map)."""
    from ..tags.embed import open_embedder
    from ..tags.normalize import add_labels, fit_normalizer

    with journey.run.step("normalize_tags", "map", len(journey.rows)) as record:
        embedder = open_embedder(options.embedder)
        normalizer = fit_normalizer(journey.rows, alpha=options.alpha, eps=options.eps, embedder=embedder)
        normalizer.save(journey.run.path / "tags.json")
        journey.rows = journey.run.keep(record, add_labels(journey.rows, normalizer))
        record.summary = normalizer.summary()


def cluster(journey: Journey, options: Any) -> None:
    """Labels → clusters, rows → clusters (fold, map)."""
    from ..selection.cluster import add_clusters, fit_clusters
    from ..tags.embed import open_embedder

    with journey.run.step("cluster", "map", len(journey.rows)) as record:
        embedder = open_embedder(options.embedder)
        clusters = fit_clusters(journey.rows, k=journey.recipe.clusters, embedder=embedder, seed=journey.recipe.seed)
        clusters.save(journey.run.path / "clusters.json")
        journey.rows = journey.run.keep(record, add_clusters(journey.rows, clusters, embedder))
        record.summary = {"k": clusters.k, "asked_k": journey.recipe.clusters, "note": clusters.note}


def compare(journey: Journey, options: Any) -> None:
    """Pairs inside a cluster (fan), compared in both orders (map), one score a row (fold, map)."""
    from ..rows import split_rejected
    from ..selection.compare import Comparer, add_scores, fold_scores, pairs, reliability

    with journey.run.step("compare", "map", len(journey.rows)) as record:
        planned = pairs(journey.rows, comparisons=options.comparisons, orders=options.orders, seed=journey.recipe.seed)
        comparer = journey.stage(Comparer, "compare", options, record)
        compared, lost = split_rejected(comparer.apply(planned))
        journey.run.save(compared, "comparisons")
        if len(lost):
            journey.run.save(lost, "comparisons_rejected")
        reasons = dict(Counter(mark["reason"] for mark in lost["rejection"]))
        if len(lost) == len(planned) > 0:
            why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
            raise DataError(
                f"compare: none of the {len(planned)} comparisons gave a score ({why}); the replies are in "
                f"{journey.run.path / 'comparisons_rejected'}"
            )
        record.summary = {
            "pairs": len(planned),
            "pairs_rejected": len(lost),
            "pair_reasons": reasons,
            **reliability(compared),
        }
        journey.rows = journey.run.keep(record, add_scores(journey.rows, fold_scores(compared)))


def select(journey: Journey, options: Any) -> None:
    """The best of each cluster (pick)."""
    from ..selection.tacos import select

    with journey.run.step("select", "pick", len(journey.rows)) as record:
        selection = select(journey.rows, n=options.n)
        journey.not_chosen = journey.rows.select(selection.left)
        chosen = selection.apply(journey.rows)
        record.not_chosen, record.summary = len(journey.not_chosen), selection.summary()
        places = zip(chosen["cluster_rank"], chosen["cluster"], range(len(chosen)), strict=True)
        best_first = [index for _, _, index in sorted(places)]  # whatever the order of the seeds
        journey.rows = journey.run.keep(record, chosen.select(best_first))


def measure(journey: Journey, options: Any) -> None:
    """Diversity, difficulty, obedience, repetition, spread, length, contamination (fold)."""
    from ..measure import measure as measured
    from ..tags.embed import open_embedder

    with journey.run.step("measure", "fold", len(journey.rows)) as record:
        tagging = {"max_tags": options.max_tags}
        tagger = journey.stage(OpenTagger, "measure", options, record, **tagging) if options.sample else None
        measures = measured(
            journey.rows,
            tagger,
            sample=options.sample,
            by=options.by,
            references=journey.references,
            embedder=open_embedder(options.embedder),
            seed=journey.recipe.seed,
        )
        measures.save(journey.run.path / "measures.json")
        said = measures.summary()
        record.summary = {name: said[name] for name in _SAID if name in said}
        record.rows_out = len(journey.rows)
