"""Grades of programs: run with their tests in the sandbox, if that was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import RecipeError
from .sandbox import Limits, Outcome, isolation, run_all
from .task import Grade, Means, Output, Problem, missing

Build = Callable[[Problem, str], str | None]  # a problem and an answer → a program with its tests, or no code

LIMITS = Limits()
_ERROR_SHOWN = 600  # characters


def grade_programs(
    task: str, build: Build, problems: Sequence[Problem], outputs: Sequence[Output], means: Means
) -> list[Grade]:
    """Score 1 for "passed", 0 for anything else; `parts` has the seconds that a program took.

    Args:
        task: For messages.
        build: Makes a program with its tests of an answer.
        problems: With their records.
        outputs: In the same order; of several turns the last counts.
        means: Whether code may be run, and how much at once.

    Raises:
        RecipeError: If running code was not asked for, or this system cannot isolate it.
        EngineError: If the sandbox itself fails.
    """
    if not means.run_code:
        raise RecipeError(
            f"{task}: grading runs code that a model wrote; to have it run in a sandbox, add --allow-code-execution"
        )
    programs = [
        None if output is None else build(problem, output[-1] if output else "")
        for problem, output in zip(problems, outputs, strict=True)
    ]
    outcomes = run_all(programs, LIMITS, means.workers)
    return [_grade(*each) for each in zip(problems, outputs, outcomes, strict=True)]


def _grade(problem: Problem, output: Output, outcome: Outcome | None) -> Grade:
    if output is None:
        return missing(problem)
    if outcome is None:
        return Grade(problem.id, 0.0, "no code", f"no code in: {output[-1][:80]!r}" if output else "an empty answer")
    score = float(outcome.verdict == "passed")
    parts = {"seconds": round(outcome.seconds, 3)}
    return Grade(problem.id, score, outcome.verdict, outcome.detail[:_ERROR_SHOWN], parts)


def summarize(grades: Sequence[Grade]) -> dict[str, Any]:
    """How many grades have which verdict, and what isolated the programs."""
    found = isolation()
    return {
        "verdicts": dict(Counter(grade.verdict for grade in grades).most_common()),
        "isolation": found.mode,
        "not_isolated": list(found.missing),
    }
