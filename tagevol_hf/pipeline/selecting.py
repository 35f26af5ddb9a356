"""The steps of TACOS: tags, labels, clusters, comparisons, the best of each, and their refinement."""

from __future__ import annotations

from collections import Counter
from typing import Any

from datasets import Dataset

from ..errors import DataError
from ..rows import split_rejected
from ..selection.choice import Selection
from ..selection.singleton import SingleScorer
from ..step_record import StepRecord
from ..tags.taggers import OpenTagger
from .journey import Journey
from .planned import say_planned, say_unanswered


def open_tags(journey: Journey, options: Any) -> None:
    """Open tags of each query, or of each user turn (map)."""
    from ..tags.turns import tag_turns

    with journey.run.step("open_tags", "map", len(journey.rows)) as record:
        limits = {"granularity": options.granularity, "max_tags": options.max_tags}
        tagger = journey.stage(OpenTagger, "open_tags", options, record, **limits)
        tagged = tag_turns(journey.rows, tagger) if options.turns == "each" else tagger.apply(journey.rows)
        journey.rows = journey.run.keep(record, tagged)


def normalize_tags(journey: Journey, options: Any) -> None:
    """Open tags → canonical labels (fold, map)."""
    from ..tags.normalize import add_labels, fit_normalizer

    with journey.run.step("normalize_tags", "map", len(journey.rows)) as record:
        settings = options.settings()
        embedder = journey.embedder(options.embedder) if "semantic" in settings else None
        normalizer = fit_normalizer(journey.rows, settings, embedder)
        normalizer.save(journey.run.path / "tags.json")
        journey.rows = journey.run.keep(record, add_labels(journey.rows, normalizer))
        record.summary = normalizer.summary()


def cluster(journey: Journey, options: Any) -> None:
    """Labels → clusters, rows → clusters (fold, map)."""
    from ..selection.cluster import add_clusters, fit_clusters
    from ..selection.cluster_quality import cluster_quality
    from ..selection.cluster_sets import keep_one_per_label_set
    from ..selection.places import place_rows

    with journey.run.step("cluster", "map", len(journey.rows)) as record:
        embedder = journey.embedder(options.embedder)
        clusters = fit_clusters(journey.rows, k=journey.recipe.clusters, embedder=embedder, seed=journey.recipe.seed)
        clusters.save(journey.run.path / "clusters.json")
        placed = add_clusters(journey.rows, clusters, embedder, assign=options.assign)
        journey.rows = journey.run.keep(record, keep_one_per_label_set(placed, keep=options.same_labels))
        place_rows(journey.rows, embedder, journey.recipe.seed).save(journey.run.path / "cluster_map.json")
        record.summary = {
            "k": clusters.k,
            "asked_k": journey.recipe.clusters,
            "note": clusters.note,
            "assign": options.assign,
            "same_labels": options.same_labels,
            "embedder": clusters.embedder,
            "quality": cluster_quality(journey.rows, clusters, embedder),
        }


def single_score(journey: Journey, options: Any) -> None:
    """A score for each response by itself (map)."""
    if not journey.partial:
        say_unanswered("single_score", journey.rows)
    journey.ask(SingleScorer, "single_score", options)


def compare(journey: Journey, options: Any) -> None:
    """Pairs inside a cluster (fan), compared (map), one score a row (fold, map)."""
    from ..selection.compare import Comparer
    from ..selection.length_control import control_length
    from ..selection.reliability import reliability
    from ..selection.rounds import compare_rows
    from ..selection.scores import add_scores, fold_scores

    say_unanswered("compare", journey.rows)
    with journey.run.step("compare", "map", len(journey.rows)) as record:
        comparer = journey.stage(Comparer, "compare", options, record)
        compared = compare_rows(
            journey.rows,
            comparer,
            plan=options.plan,
            comparisons=options.comparisons,
            orders=options.orders,
            seed=journey.recipe.seed,
            tell=lambda first, total: say_planned(journey, comparer, first, total),
        )
        _keep_comparisons(journey, record, compared)
        scored = control_length(add_scores(journey.rows, fold_scores(compared, options.score)))
        journey.rows = journey.run.keep(record, scored)
        record.summary |= {
            "plan": options.plan,
            "orders": options.orders,
            "score": options.score,
            **reliability(compared, journey.rows),
        }


def select(journey: Journey, options: Any) -> None:
    """The best of each cluster (pick)."""
    from ..selection.choose import select

    with journey.run.step("select", "pick", len(journey.rows)) as record:
        selection = select(journey.rows, n=options.n, allocate=options.allocate, by=options.by)
        keep_selection(journey, record, journey.rows, selection)
        record.summary |= {"allocate": options.allocate, "by": options.by}


def refine(journey: Journey, options: Any) -> None:
    """A better response, then a better instruction for each chosen row (map)."""
    from ..selection.refine import InstructionRefiner, ResponseRefiner
    from ..selection.refine import refine as refined

    with journey.run.step("refine", "map", len(journey.rows)) as record:
        responses = journey.stage(ResponseRefiner, "refine", options, record)
        instructions = journey.stage(InstructionRefiner, "refine", options, record)
        journey.rows = journey.run.keep(record, refined(journey.rows, responses, instructions))
        for part in ("response", "instruction"):
            record.summary[f"{part}s_refined"] = sum(why == "" for why in journey.rows[f"{part}_kept"])


def keep_selection(journey: Journey, record: StepRecord, rows: Dataset, selection: Selection) -> None:
    """The chosen rows, the best first whatever the order of the seeds; the others are not chosen.

    Raises:
        DataError: If no row was chosen.
    """
    if not selection.choices:
        raise DataError(f"{record.name}: no row was chosen ({selection.warning or 'none came in'})")
    journey.not_chosen, lost = split_rejected(rows.select(selection.left))
    chosen = selection.apply(rows)
    record.not_chosen, record.summary = len(journey.not_chosen), selection.summary()
    number = chosen["cluster"] if "cluster" in chosen.column_names else chosen["cluster_rank"]
    places = zip(chosen["cluster_rank"], number, chosen["id"], range(len(chosen)), strict=True)
    best_first = chosen.select([index for *_, index in sorted(places)])
    journey.rows = journey.run.keep(record, best_first, lost)


def _keep_comparisons(journey: Journey, record: StepRecord, every: Dataset) -> None:
    """Save the comparisons, and tell if not one of them gave a score."""
    compared, lost = split_rejected(every)
    journey.run.save(compared, "comparisons")
    if len(lost):
        journey.run.save(lost, "comparisons_rejected")
    reasons = dict(Counter(mark["reason"] for mark in lost["rejection"]))
    if len(lost) == len(every) > 0:
        why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        raise DataError(
            f"compare: none of the {len(every)} comparisons gave a score ({why}); the replies are in "
            f"{journey.run.path / 'comparisons_rejected'}"
        )
    record.summary = {"pairs": len(every), "pairs_rejected": len(lost), "pair_reasons": reasons}
