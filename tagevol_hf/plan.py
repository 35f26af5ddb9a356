"""What a recipe will ask, before it asks: an upper bound of the requests of each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from .recipe import Recipe
from .recipe_evolving import EvolInstructStep, OptimizeMethod
from .recipe_measuring import MeasureStep
from .recipe_selecting import BaselineStep, CompareSelections, CompareStep, Refine
from .recipe_steps import EVOLUTIONS, MODEL_STEPS, SELECTIONS


@dataclass(frozen=True)
class StepPlan:
    """Requests of one step.

    Attributes:
        rows: Rows that come in at the most, those that a fan adds among them; fewer if earlier steps reject some.
        requests: Requests at the most when every first reply can be used.
        worst: Requests at the most when every row takes all its attempts.
        engine: The engine's spec; empty for a step that asks nothing.
    """

    name: str
    rows: int
    requests: int
    worst: int
    engine: str


def plan(recipe: Recipe, rows: int, turns: int | None = None) -> list[StepPlan]:
    """Upper bounds for each step of a recipe on so many rows.

    Args:
        recipe: What is to be done.
        rows: Rows that are read.
        turns: User turns of these rows, for `open_tags` with `turns: each`; by default one a row.
    """
    steps, pool, read, turns = [], rows, max(1, rows), turns or rows
    for name, options in recipe.steps:
        rows *= _fan(name, options)
        requests = 0
        if name in MODEL_STEPS:
            count = _REQUESTS.get(name)
            coming = pool if name == "compare_selections" else rows
            requests = count(coming, options, recipe) if count else rows
            if name == "open_tags" and options.turns == "each":
                requests = -(-rows * turns // read)
        attempts = (getattr(options, "attempts", None) or _attempts(name)) if requests else 0
        steps.append(StepPlan(name, rows, requests, requests * attempts, recipe.engine(name) if requests else ""))
        if name in SELECTIONS and getattr(options, "method", "") != "full":
            pool, rows = rows, min(rows, options.n)
    return steps


def _fan(name: str, options: Any) -> int:
    """How many rows become of one."""
    if name == "tag_evol":
        return 1 if options.budgets == "adaptive" else len(options.budgets)
    return options.rounds if name in ("evol_instruct", "auto_evol") else 1


def _comparisons(rows: int, options: CompareStep, recipe: Recipe) -> int:
    """Pair-rows: each membership of a row in `comparisons` pairs, and more for odd clusters and those of one row.

    With an even number of comparisons and the plan "k-regular" the number is that, whatever the clusters are.
    """
    k, tagging = recipe.clusters, recipe.option("open_tags")
    released = recipe.option("cluster").assign == "release" and options.plan != "swiss"
    if released:
        rows *= min(k, tagging.max_tags)
    odd = rows if options.plan == "anchor" else k + 1  # one more cluster for the rest
    if options.plan == "k-regular" and options.comparisons % 2 == 0 and not released:
        odd = 0
    pairs = -(-(rows + odd) * min(options.comparisons, max(1, rows - 1)) // 2)
    return pairs * (2 if options.orders == "both" else 1)


COMPARISONS = (1, 2, 4, 8)  # a row, of which `compare_choices` tells


def compare_choices(recipe: Recipe, rows: int) -> dict[str, list[int]]:
    """Requests of the step `compare` in both orders, by plan, for 1, 2, 4 and 8 comparisons a row; one order: half.

    Args:
        recipe: One with this step.
        rows: Rows that come into it.
    """
    options: CompareStep = recipe.option("compare")

    def asked(plan: str, comparisons: int) -> int:
        other = options.model_copy(update={"plan": plan, "comparisons": comparisons, "orders": "both"})
        return _comparisons(rows, other, recipe)

    plans = get_args(CompareStep.model_fields["plan"].annotation)
    return {plan: [asked(plan, comparisons) for comparisons in COMPARISONS] for plan in plans}


_SCORED = {"alpagasus": 1, "deita": 2}  # requests a row of the ways of selecting that ask an engine


def _baseline(rows: int, options: BaselineStep, recipe: Recipe) -> int:
    return rows * _SCORED.get(options.method, 0)


def _selections(rows: int, options: CompareSelections, recipe: Recipe) -> int:
    return rows * sum(_SCORED.get(method, 0) for method in set(options.methods))


def _refining(rows: int, options: Refine, recipe: Recipe) -> int:
    """The response and the instruction."""
    return 2 * rows


def _eliminating(rows: int, options: EvolInstructStep, recipe: Recipe) -> int:
    """The rewrite, and one request for each way of elimination."""
    return rows * (1 + len(set(options.eliminate)))


def _optimizing(rows: int, options: OptimizeMethod, recipe: Recipe) -> int:
    """A step: the mini-batch's trajectories, one analysis, the candidates, and each one's rewrites and answers."""
    dev = min(options.dev, rows)
    step = min(options.batch, rows) * options.evolutions + 1 + options.candidates * (1 + 2 * dev)
    return 2 * dev + options.steps * step


def _measuring(rows: int, options: MeasureStep, recipe: Recipe) -> int:
    """Two samples' worth for each group; the sample of all rows lies inside those of the groups."""
    evolved = next((recipe.option(name) for name in EVOLUTIONS if recipe.option(name)), None)
    groups = 1
    if options.by == "budget" and evolved is not None:
        budgets = getattr(evolved, "budgets", [])
        groups = evolved.adaptive.most - evolved.adaptive.least + 1 if budgets == "adaptive" else len(budgets) or 1
    if options.by == "round" and evolved is not None:
        groups = getattr(evolved, "rounds", 1)
    return min(rows, 2 * options.sample * groups)


_REQUESTS: Mapping[str, Callable[[int, Any, Recipe], int]] = {
    "aspect_tags": lambda rows, options, recipe: rows * (2 if options.method == "two-call" else 1),
    "evol_instruct": _eliminating,
    "optimize_method": _optimizing,
    "agree": lambda rows, options, recipe: rows * options.draws,
    "compare": _comparisons,
    "baseline": _baseline,
    "compare_selections": _selections,
    "refine": _refining,
    "measure": _measuring,
}


def _attempts(name: str) -> int:
    from .evolve.respond import Responder
    from .stage import Stage

    return Responder.attempts if name in ("respond", "agree") else Stage.attempts
