"""AlpacaEval 2: how often a model's answers are preferred to a reference's, raw and controlled for length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .columns import text_columns
from .length_controlled import length_controlled
from .pairwise import Pair, compare_answers
from .pairwise_figures import Comparison
from .task import Grade, Means, Output, Problem, Record, Task, missing

WORTH: Mapping[str, float] = MappingProxyType({"win": 1.0, "tie": 0.5, "lose": 0.0})


def problems(records: Sequence[Record]) -> list[Problem]:
    """Records with `instruction`, which is asked as it is, and `output`, the reference's answer."""
    text_columns("alpaca_eval", records, "instruction", "output")
    return [Problem(f"alpaca_eval/{row}", (record["instruction"],), record) for row, record in enumerate(records)]


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    """A judge's preference: 1 for the model, 0.5 for a tie, 0 for the reference, and the mean of both orders.

    `parts` has the verdict of each order, and the lengths of both answers in characters.

    Raises:
        RecipeError: If there is no judge.
        EngineError: If the judge fails.
    """
    judge = means.judge_of("alpaca_eval")
    pairs = [
        Pair(problem.id, problem.turns[0], output[-1], problem.record["output"])
        for problem, output in zip(problems, outputs, strict=True)
        if output is not None
    ]
    judged = compare_answers(judge, pairs, incomplete="allow").comparisons if pairs else ()
    found = {comparison.id: _grade(comparison) for comparison in judged}
    return [found.get(problem.id) or missing(problem) for problem in problems]


def _grade(comparison: Comparison) -> Grade:
    read = [WORTH[verdict] for verdict in comparison.orders if verdict is not None]
    own, other = comparison.lengths or (0, 0)
    parts = {"first": comparison.orders[0], "second": comparison.orders[-1], "length": own, "reference_length": other}
    if len(read) < len(comparison.orders):
        return Grade(comparison.id, None, "unreadable", "", parts)
    score = sum(read) / len(read)
    verdict = "win" if score > 0.5 else "lose" if score < 0.5 else "tie"
    return Grade(comparison.id, score, verdict, "", parts)


def summary(grades: Sequence[Grade]) -> dict[str, Any]:
    """The win rate controlled for length, wins, mean lengths and, of a judge in both orders, how often it flips."""
    graded = [grade for grade in grades if grade.score is not None]
    if not graded:
        return {}
    scores = [grade.score or 0.0 for grade in graded]
    shorter = [float(grade.parts["reference_length"] - grade.parts["length"]) for grade in graded]
    found: dict[str, Any] = {
        "length_controlled_win_rate": length_controlled(scores, shorter),
        "wins": sum(score > 0.5 for score in scores),
        "ties": sum(score == 0.5 for score in scores),
        "losses": sum(score < 0.5 for score in scores),
        "mean_length": sum(grade.parts["length"] for grade in graded) / len(graded),
        "mean_reference_length": sum(grade.parts["reference_length"] for grade in graded) / len(graded),
    }
    both = [grade for grade in graded if "second" in grade.parts]
    if both:
        orders = [(grade.parts["first"], grade.parts["second"]) for grade in both]
        found["flip_rate"] = sum({"win", "lose"} == set(order) for order in orders) / len(orders)
        first = [WORTH[one] for one, _ in orders] + [1 - WORTH[two] for _, two in orders]
        found["position_bias"] = sum(first) / len(first) - 0.5
    return found


TASK = Task(
    name="alpaca_eval",
    title="AlpacaEval 2",
    source=("tatsu-lab/alpaca_eval", "alpaca_eval_gpt4_baseline", "eval"),
    problems=problems,
    grade=grade,
    metric="win_rate",
    summary=summary,
    max_tokens=2048,
    judged=True,
)
