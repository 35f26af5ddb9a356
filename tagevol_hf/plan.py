"""What a recipe will ask, before it asks: an upper bound of the requests of each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .recipe import Recipe
from .recipe_evolving import EvolInstructStep, OptimizeMethod
from .recipe_selecting import CompareStep, MeasureStep
from .recipe_steps import EVOLUTIONS, MODEL_STEPS


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


def plan(recipe: Recipe, rows: int) -> list[StepPlan]:
    """Upper bounds for each step of a recipe on so many rows."""
    steps = []
    for name, options in recipe.steps:
        rows *= _fan(name, options)
        requests = 0
        if name in MODEL_STEPS:
            count = _REQUESTS.get(name)
            requests = count(rows, options, recipe) if count else rows
        attempts = (options.attempts or _attempts(name)) if requests else 0
        steps.append(StepPlan(name, rows, requests, requests * attempts, recipe.engine(name) if requests else ""))
        if name == "select":
            rows = min(rows, options.n)
    return steps


def _fan(name: str, options: Any) -> int:
    """How many rows become of one."""
    if name == "tag_evol":
        return 1 if options.budgets == "adaptive" else len(options.budgets)
    return options.rounds if name in ("evol_instruct", "auto_evol") else 1


def _comparisons(rows: int, options: CompareStep, recipe: Recipe) -> int:
    """Pair-rows: each row in `comparisons` pairs, and a few more for odd clusters and those of one row."""
    pairs = -(-(rows + recipe.clusters) * options.comparisons // 2)
    return pairs * (2 if options.orders == "both" else 1)


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
    "measure": _measuring,
}


def _attempts(name: str) -> int:
    from .evolve.respond import Responder
    from .stage import Stage

    return Responder.attempts if name in ("respond", "agree") else Stage.attempts
