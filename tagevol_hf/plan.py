"""What a recipe will ask, before it asks: an upper bound of the requests of each step."""

from __future__ import annotations

from dataclasses import dataclass

from .recipe import Recipe
from .recipe_steps import MODEL_STEPS, CompareStep


@dataclass(frozen=True)
class StepPlan:
    """Requests of one step.

    Attributes:
        rows: Rows that come in at the most; fewer if earlier steps reject some.
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
        if name == "tag_evol":
            rows *= len(options.budgets)
        asks = name in MODEL_STEPS
        requests = (_comparisons(rows, options, recipe.clusters) if name == "compare" else rows) if asks else 0
        attempts = (options.attempts or _attempts(name)) if asks else 0
        steps.append(StepPlan(name, rows, requests, requests * attempts, recipe.engine(name) if asks else ""))
        if name == "select":
            rows = min(rows, options.n)
    return steps


def _comparisons(rows: int, options: CompareStep, clusters: int) -> int:
    """Pair-rows: each row in `comparisons` pairs, and a few more for odd clusters and those of one row."""
    pairs = -(-(rows + clusters) * options.comparisons // 2)
    return pairs * (2 if options.orders == "both" else 1)


def _attempts(name: str) -> int:
    from .evolve.respond import Responder
    from .stage import Stage

    return Responder.attempts if name == "respond" else Stage.attempts
