"""The steps of Tag-Evol, and of the methods that it is compared with."""

from __future__ import annotations

from typing import Any

from ..evolve.auto_evol import AutoEvol, load_method
from ..evolve.budgets import Adaptive
from ..evolve.eliminate import Eliminator, EqualityJudge
from ..evolve.evol_instruct import EvolInstruct
from ..evolve.optimize import optimize_method as find_method
from ..evolve.respond import Responder
from ..evolve.review import TagReview
from ..evolve.tag_evol import draw_candidates
from ..evolve.variants import VARIANTS
from ..measure.obedience import reply_obedience
from ..recipe_evolving import AspectTags, TagPoolStep
from ..recipe_parts import ModelStep
from ..rows import Row, iterate
from ..stage import Stage
from ..tags.normalize import Normalization, TagNormalizer
from ..tags.pool import TagPool, open_pool
from ..tags.pool_names import canonical_tags
from ..tags.taggers import AspectFiller, AspectNamer, AspectTagger, OpenTagger, flat_aspects
from .journey import Journey


def aspect_tags(journey: Journey, options: Any) -> None:
    """Aspects of each seed, tags under each (map)."""
    with journey.run.step("aspect_tags", "map", len(journey.rows)) as record:
        stages = [
            journey.stage(kind, "aspect_tags", options, record, **parameters) for kind, parameters in _tagging(options)
        ]
        rows = journey.rows
        for stage in stages:
            rows = stage.apply(rows)
        if "open_tags" in rows.column_names:
            rows = flat_aspects(rows).remove_columns("open_tags")
        record.summary = {"method": options.method}
        journey.rows = journey.run.keep(record, rows)


def tag_pool(journey: Journey, options: Any) -> None:
    """The tags that evolution draws from: the seeds' own, or those of other pools (fold)."""
    with journey.run.step("tag_pool", "fold", len(journey.rows)) as record:
        own = [] if options.from_ else _own_pools(journey, options)
        others = [open_pool(where) for where in (options.from_, *options.add) if where]
        pool = TagPool.merge([*own, *others]).keep(least=options.least, sources=options.sources)
        if options.normalize != "none":
            pool = _one_name_a_tag(journey, pool, options)
        pool.save(journey.run.path / "tag_pool.json")
        journey.pool, record.summary = pool, pool.summary()
        record.rows_out = len(journey.rows)


def tag_evol(journey: Journey, options: Any) -> None:
    """One row a budget, with its candidates (fan); exactly b of them chosen and woven in (map)."""
    budgets = Adaptive(**options.adaptive.model_dump()) if options.budgets == "adaptive" else options.budgets
    fanned = draw_candidates(
        journey.rows, journey.pool, budgets, options.candidates, journey.recipe.seed, variant=options.variant
    )
    record = journey.ask(
        VARIANTS[options.variant],
        "tag_evol",
        options,
        fanned,
        seeds=len(journey.rows),
        words_per_tag=options.words_per_tag,
        max_chars=options.max_chars,
    )
    replies = reply_obedience(record.rows_out, record.redrawn, record.rejected)
    record.summary |= {"variant": options.variant, "reply_obedience": replies.share}


def evol_instruct(journey: Journey, options: Any) -> None:
    """Rounds of rewriting, each from the round before (fan, map)."""
    operators = {"operators": tuple(options.operators), "assign": options.assign}
    journey.rounds(EvolInstruct, "evol_instruct", options, _eliminator(journey, options), **operators)


def optimize_method(journey: Journey, options: Any) -> None:
    """A better method for auto_evol, found by trial on a part of the rows (fold)."""
    with journey.run.step("optimize_method", "fold", len(journey.rows)) as record:
        evolver = journey.stage(AutoEvol, "auto_evol", journey.recipe.option("auto_evol"), record)
        found = find_method(
            journey.rows,
            evolver,
            journey.run.engine("optimize_method"),
            start=load_method(options.start),
            steps=options.steps,
            batch=options.batch,
            evolutions=options.evolutions,
            candidates=options.candidates,
            dev=options.dev,
            subset=options.subset,
            temperature=options.temperature,
            top_p=options.top_p,
            seed=journey.recipe.seed,
        )
        found.save(journey.run.path / "method.json")
        journey.method = found.method
        record.summary, record.rows_out = found.summary(), len(journey.rows)


def auto_evol(journey: Journey, options: Any) -> None:
    """Rounds of rewriting by a method in words (fan, map)."""
    method = load_method(options.method) if options.method else journey.method or load_method("published")
    journey.rounds(AutoEvol, "auto_evol", options, None, method=method)


def review(journey: Journey, options: Any) -> None:
    """Are the chosen tags in it, is the core task kept (map)?"""
    journey.ask(TagReview, "review", options, reject=tuple(options.reject))


def respond(journey: Journey, options: Any) -> None:
    """An answer to each instruction (map)."""
    journey.ask(Responder, "respond", options)


def agree(journey: Journey, options: Any) -> None:
    """Do further draws give the same final answer (map)?"""
    from ..evolve.agree import agree as agreeing

    with journey.run.step("agree", "map", len(journey.rows)) as record:
        given = {key: value for key in ModelStep.model_fields if (value := getattr(options, key)) is not None}
        respond = journey.recipe.option("respond").model_copy(update={**given, "temperature": None})
        responder = journey.stage(Responder, "agree", respond, record)
        rows = agreeing(journey.rows, responder, options.draws, options.temperature, options.least)
        journey.rows = journey.run.keep(record, rows)


def _own_pools(journey: Journey, options: TagPoolStep) -> list[TagPool]:
    """The seeds' tags; where they come from several sources, a pool of each."""
    if options.source or not journey.recipe.data.also:
        return [TagPool.from_dataset(journey.rows, options.source or journey.recipe.name)]
    rows = journey.rows.select_columns(["id", "aspects", "source"])
    parts: dict[str, list[Row]] = {}
    for row in iterate(rows):
        parts.setdefault(row["source"], []).append(row)
    return [TagPool.from_rows(part, source) for source, part in parts.items()]


def _one_name_a_tag(journey: Journey, pool: TagPool, options: TagPoolStep) -> TagPool:
    """Near-equal tags become one, in the pool and in the rows alike: no seed is offered a tag that it has."""
    embedder = journey.embedder(options.embedder) if options.normalize == "semantic" else None
    counts = {tag: pool.count(tag) for tag in pool.tags}
    settings = Normalization(steps=("rule", "semantic"), eps=options.eps)
    normalizer = TagNormalizer.from_counts(counts, rows=len(journey.rows), settings=settings, embedder=embedder)
    journey.rows = canonical_tags(journey.rows, normalizer)
    return pool.normalized(normalizer)


def _eliminator(journey: Journey, options: Any) -> Eliminator | None:
    """Evol-Instruct's elimination, as the recipe wants it."""
    engine, seed = journey.run.engine("evol_instruct"), journey.recipe.seed
    judge = EqualityJudge(engine, seed=seed) if "equality" in options.eliminate else None
    responder = Responder(engine, seed=seed) if "answer" in options.eliminate else None
    return Eliminator(judge, responder) if judge or responder else None


def _tagging(options: AspectTags) -> list[tuple[type[Stage], dict[str, Any]]]:
    """The stages of a way of tagging, in turn, with their parameters."""
    aspects, tags = {"max_aspects": options.max_aspects}, {"max_tags": options.max_tags}
    if options.method == "one-call":
        return [(AspectTagger, aspects | tags)]
    if options.method == "two-call":
        return [(AspectNamer, aspects), (AspectFiller, tags)]
    return [(OpenTagger, {"granularity": options.method, **tags})]
