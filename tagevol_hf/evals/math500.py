"""MATH-500: problems of competitions (arXiv 2103.03874; the 500 of arXiv 2305.20050)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..answers.equal import Equality
from ..answers.final import final_answer
from ..answers.math_string import same_string
from ..prompts import load_prompt
from .columns import text_columns
from .task import Grade, Means, Output, Problem, Record, Task, missing

_SHOWN = 120  # characters of an answer
_GROUPS = ("subject", "level")


def problems(records: Sequence[Record]) -> list[Problem]:
    """Records with `problem` and `answer`, and perhaps `unique_id`, `subject` and `level`."""
    text_columns("math500", records, "problem", "answer")
    prompt = load_prompt("evals/math500")
    return [
        Problem(
            str(record.get("unique_id") or f"math500/{number}"),
            (prompt.render({}, {"problem": record["problem"]}),),
            record,
        )
        for number, record in enumerate(records)
    ]


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    r"""Right by MATH's own rule of strings, as published results are; whether computer algebra agrees stands beside it.

    The answer is what the last `\boxed{}` holds, else what follows `####` or "the answer is", else the last number.
    `parts` has `algebra` (1 or 0), and `disagree` where the two rules do.
    """
    with Equality() as equality:
        return [_grade(problem, output, equality) for problem, output in zip(problems, outputs, strict=True)]


def _grade(problem: Problem, output: Output, equality: Equality) -> Grade:
    if output is None:
        return missing(problem)
    wanted = problem.record["answer"]
    answer = final_answer(output[-1])
    groups = {name: problem.record[name] for name in _GROUPS if name in problem.record}
    if answer is None:
        return Grade(problem.id, 0.0, "no answer", f"expected {wanted:.{_SHOWN}}", {"algebra": 0, **groups})
    string, algebra = same_string(answer, wanted), equality.same(answer, wanted)
    parts: dict[str, Any] = {"algebra": int(algebra), **groups}
    if string != algebra:
        parts["disagree"] = "as strings the same, not by algebra" if string else "by algebra the same, not as strings"
    detail = f"expected {wanted:.{_SHOWN}}, got {answer:.{_SHOWN}}"
    return Grade(problem.id, float(string), "right" if string else "wrong", detail, parts)


def summary(grades: Sequence[Grade]) -> dict[str, Any]:
    """Accuracy by computer algebra, how often the rules disagree, and accuracy by subject and level."""
    graded = [grade for grade in grades if grade.score is not None]
    found: dict[str, Any] = {
        "accuracy_by_algebra": _mean([grade.parts["algebra"] for grade in graded]),
        "rules_disagree": sum("disagree" in grade.parts for grade in graded),
    }
    for name in _GROUPS:
        groups: dict[str, list[float]] = defaultdict(list)
        for grade in graded:
            if name in grade.parts:
                groups[str(grade.parts[name])].append(grade.score or 0.0)
        if groups:
            found[f"by_{name}"] = {key: {"accuracy": _mean(own), "n": len(own)} for key, own in sorted(groups.items())}
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


TASK = Task(
    name="math500",
    title="MATH-500",
    source=("HuggingFaceH4/MATH-500", None, "test"),
    problems=problems,
    grade=grade,
    summary=summary,
    max_tokens=2048,
)
