"""tagevol_hf: harder instructions by knowledge tags, small subsets by comparison, as `datasets` transforms.

    >>> import tagevol_hf as te
    >>> engine = te.open_engine("builtin")
    >>> tagged = te.AspectTagger(engine).apply(te.prepare(dataset))

Importing this package loads no torch, vllm, trl or scikit-learn; each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "TagEvolError": "errors",
    "RecipeError": "errors",
    "DataError": "errors",
    "EngineError": "errors",
    "MissingExtraError": "errors",
    "load": "sources",
    "prepare": "formats",
    "split_rejected": "rows",
    "spool": "streams",
    "open_engine": "engines.open",
    "Request": "engines.base",
    "Reply": "engines.base",
    "Sampling": "engines.base",
    "Message": "engines.base",
    "Stage": "stage",
    "Prompt": "prompts",
    "AspectTagger": "tags.taggers",
    "AspectNamer": "tags.taggers",
    "AspectFiller": "tags.taggers",
    "OpenTagger": "tags.taggers",
    "flat_aspects": "tags.taggers",
    "TagPool": "tags.pool",
    "open_pool": "tags.pool",
    "TagNormalizer": "tags.normalize",
    "Normalization": "tags.normalize",
    "fit_normalizer": "tags.normalize",
    "add_labels": "tags.normalize",
    "tag_turns": "tags.turns",
    "open_embedder": "tags.embed",
    "draw_candidates": "evolve.tag_evol",
    "Adaptive": "evolve.budgets",
    "TagEvol": "evolve.tag_evol",
    "FromScratch": "evolve.variants",
    "GivenTags": "evolve.variants",
    "TagReview": "evolve.review",
    "EvolInstruct": "evolve.evol_instruct",
    "AutoEvol": "evolve.auto_evol",
    "Eliminator": "evolve.eliminate",
    "EqualityJudge": "evolve.eliminate",
    "evolve_in_rounds": "evolve.rounds",
    "load_method": "evolve.auto_evol",
    "optimize_method": "evolve.optimize",
    "Responder": "evolve.respond",
    "agree": "evolve.agree",
    "fit_clusters": "selection.cluster",
    "add_clusters": "selection.cluster",
    "Comparer": "selection.compare",
    "SingleScorer": "selection.singleton",
    "pairs": "selection.pairing",
    "compare_rows": "selection.rounds",
    "fold_scores": "selection.scores",
    "add_scores": "selection.scores",
    "control_length": "selection.length_control",
    "reliability": "selection.reliability",
    "select": "selection.choose",
    "tacos": "selection.tacos",
    "refine": "selection.refine",
    "baseline": "selection.baselines",
    "compare_selections": "measure.selections",
    "load_recipe": "recipe_file",
    "curate": "pipeline",
    "load_run": "pipeline",
    "write_figures": "figures",
    "EvalHook": "evals.hook",
    "Rule": "measure.benchmark_search",
    "find_leaks": "measure.leaks",
    "reject_leaks": "measure.leaks",
    "find_near_duplicates": "measure.near_duplicates",
    "reject_near_duplicates": "measure.near_duplicates",
    "metric_path": "metrics",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from .engines.base import Message, Reply, Request, Sampling
    from .engines.open import open_engine
    from .errors import DataError, EngineError, MissingExtraError, RecipeError, TagEvolError
    from .evals.hook import EvalHook
    from .evolve.agree import agree
    from .evolve.auto_evol import AutoEvol, load_method
    from .evolve.budgets import Adaptive
    from .evolve.eliminate import Eliminator, EqualityJudge
    from .evolve.evol_instruct import EvolInstruct
    from .evolve.optimize import optimize_method
    from .evolve.respond import Responder
    from .evolve.review import TagReview
    from .evolve.rounds import evolve_in_rounds
    from .evolve.tag_evol import TagEvol, draw_candidates
    from .evolve.variants import FromScratch, GivenTags
    from .figures import write_figures
    from .formats import prepare
    from .measure.benchmark_search import Rule
    from .measure.leaks import find_leaks, reject_leaks
    from .measure.near_duplicates import find_near_duplicates, reject_near_duplicates
    from .measure.selections import compare_selections
    from .metrics import metric_path
    from .pipeline import curate, load_run
    from .prompts import Prompt
    from .recipe_file import load_recipe
    from .rows import split_rejected
    from .selection.baselines import baseline
    from .selection.choose import select
    from .selection.cluster import add_clusters, fit_clusters
    from .selection.compare import Comparer
    from .selection.length_control import control_length
    from .selection.pairing import pairs
    from .selection.refine import refine
    from .selection.reliability import reliability
    from .selection.rounds import compare_rows
    from .selection.scores import add_scores, fold_scores
    from .selection.singleton import SingleScorer
    from .selection.tacos import tacos
    from .sources import load
    from .stage import Stage
    from .streams import spool
    from .tags.embed import open_embedder
    from .tags.normalize import Normalization, TagNormalizer, add_labels, fit_normalizer
    from .tags.pool import TagPool, open_pool
    from .tags.taggers import AspectFiller, AspectNamer, AspectTagger, OpenTagger, flat_aspects
    from .tags.turns import tag_turns


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
