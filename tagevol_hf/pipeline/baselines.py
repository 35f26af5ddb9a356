"""The ways of selecting that TACOS is compared with, as steps."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, concatenate_datasets

from ..engines.base import Engine
from ..errors import RecipeError
from ..recipe_selecting import EMBEDDING
from ..selection.choice import Selection
from .journey import Journey
from .selecting import keep_selection

_ASKING = ("alpagasus", "deita")  # they score by an engine
_READING = ("ifd", "perplexity")  # they score by a language model's probabilities


def baseline(journey: Journey, options: Any) -> None:
    """N rows by one of these ways (map, pick)."""
    with journey.run.step("baseline", "pick", len(journey.rows)) as record:
        seed = journey.recipe.seed
        rows, selection = _selected(journey, "baseline", options, options.method, journey.rows, options.n, seed)
        keep_selection(journey, record, rows, selection)
        record.summary |= {"method": options.method}


def compare_selections(journey: Journey, options: Any) -> None:
    """What other ways would have selected, at the same size, in one table (map, fold)."""
    from ..measure.selections import compare_selections, length_matched

    with journey.run.step("compare_selections", "fold", len(journey.rows)) as record:
        pool, n, first = _pool(journey), len(journey.rows), journey.recipe.seed
        seeds = range(first, first + options.seeds)
        chosen: dict[str, list[Dataset]] = {
            "selected": [journey.rows],
            "random, same lengths": [length_matched(pool, journey.rows, seed) for seed in seeds],
        }
        for method in dict.fromkeys(options.methods):
            chosen[method] = []
            for seed in seeds if method == "random" else (first,):
                rows, selection = _selected(journey, "compare_selections", options, method, pool, n, seed)
                chosen[method].append(rows.select(selection.indices))
        table = compare_selections(pool, chosen, embedder=journey.embedder(options.embedder), seeds=seeds)
        table.save(journey.run.path / "selections.json")
        record.summary, record.rows_out = {"selections": len(chosen), "n": n}, n


def check_models(journey: Journey) -> None:
    """Refuse ways that need a language model where none is named, before anything is asked.

    Raises:
        RecipeError: Names the field.
    """
    for name in ("baseline", "compare_selections"):
        options = journey.recipe.option(name)
        methods = () if options is None else getattr(options, "methods", None) or (options.method,)
        for method in methods:
            if method in _READING and not options.model and method not in journey.rows.column_names:
                raise RecipeError(
                    f"{name}.model: {method} reads with a causal language model, and none is named; name a folder or "
                    f"a Hub id, as --set {name}.model=openai-community/gpt2"
                )


def _selected(
    journey: Journey, step: str, options: Any, method: str, rows: Dataset, n: int, seed: int
) -> tuple[Dataset, Selection]:
    from ..selection.baselines import baseline

    engine: Engine | None = journey.run.engine(step) if method in _ASKING else None
    return baseline(
        method,
        rows,
        n,
        engine=engine,
        model=(options.model or None) if method in _READING else None,
        embedder=journey.embedder(options.embedder) if method in EMBEDDING else "builtin",
        seed=seed,
    )


def _pool(journey: Journey) -> Dataset:
    """The rows that were selected from: the chosen and the others."""
    left = journey.rows.select([]) if journey.not_chosen is None else journey.not_chosen
    shared = [name for name in left.column_names if name in journey.rows.column_names]
    return concatenate_datasets([journey.rows.select_columns(shared), left.select_columns(shared)])
