"""IFEval: instructions that a program can check (arXiv 2311.07911), by the checkers of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from .columns import text_columns
from .ifeval_checker import Checker, Followed, by_type, load_checker
from .task import Grade, Means, Output, Problem, Record, Task, missing


def problems(records: Sequence[Record]) -> list[Problem]:
    """Records with `prompt`, `instruction_id_list` and `kwargs`; the prompt is asked as it is."""
    text_columns("ifeval", records, "prompt")
    for row, record in enumerate(records):
        names, arguments = record.get("instruction_id_list"), record.get("kwargs")
        if not isinstance(names, Sequence) or not isinstance(arguments, Sequence) or len(names) != len(arguments):
            raise DataError(
                f"ifeval: row {row}: expected instruction_id_list and kwargs, lists of the same length, "
                f"got {names!r:.80} and {arguments!r:.80}"
            )
        if not names:
            raise DataError(f"ifeval: row {row}: instruction_id_list is empty: there is nothing to check")
    keys = [record.get("key", row) for row, record in enumerate(records)]
    return [Problem(f"ifeval/{key}", (record["prompt"],), record) for key, record in zip(keys, records, strict=True)]


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    """Right where every instruction of the prompt is followed, strictly.

    `parts` has the prompt's `loose` verdict, and for its instructions `names`, `strict_each`, `loose_each` and what
    `failed`.

    Raises:
        DataError: If a record names an instruction that the checkers do not know.
        MissingExtraError: If they are not installed.
    """
    checker = load_checker()
    for problem in problems:
        unknown = [name for name in problem.record["instruction_id_list"] if name not in checker.known]
        if unknown:
            raise DataError(f"{problem.id}: the harness has no checker for {unknown[0]!r}")
    return [_grade(problem, output, checker) for problem, output in zip(problems, outputs, strict=True)]


def _grade(problem: Problem, output: Output, checker: Checker) -> Grade:
    if output is None:
        return missing(problem)
    record = problem.record
    names = list(record["instruction_id_list"])
    each = [
        checker.check(name, arguments or {}, record["prompt"], output[-1])
        for name, arguments in zip(names, record["kwargs"], strict=True)
    ]
    strict = all(one.strict for one in each)
    broken = [name for name, one in zip(names, each, strict=True) if not one.strict]
    return Grade(
        problem.id,
        float(strict),
        "followed" if strict else "not followed",
        f"not followed: {', '.join(broken)}" if broken else "",
        _parts(names, each, checker),
    )


def _parts(names: list[str], each: Sequence[Followed], checker: Checker) -> Mapping[str, Any]:
    return {
        "loose": all(one.loose for one in each),
        "names": names,
        "strict_each": [one.strict for one in each],
        "loose_each": [one.loose for one in each],
        "failed": [one.failed for one in each if one.failed],
        "sentences": checker.sentences,
    }


def summary(grades: Sequence[Grade]) -> dict[str, Any]:
    """The four published figures, each with its n, the instructions by kind, and what the checkers could not do."""
    graded = [grade for grade in grades if grade.score is not None]
    if not graded:
        return {}
    names = [name for grade in graded for name in grade.parts["names"]]
    strict = [one for grade in graded for one in grade.parts["strict_each"]]
    loose = [one for grade in graded for one in grade.parts["loose_each"]]
    failed = [fault for grade in graded for fault in grade.parts["failed"]]
    return {
        "prompt_strict": sum(grade.score or 0.0 for grade in graded) / len(graded),
        "prompt_loose": sum(grade.parts["loose"] for grade in graded) / len(graded),
        "prompts": len(graded),
        "instruction_strict": sum(strict) / len(strict),
        "instruction_loose": sum(loose) / len(loose),
        "instructions": len(names),
        "by_type": by_type(names, strict),
        "checker_failed": len(failed),
        "checker_said": sorted(set(failed))[:5],
        "sentences": graded[0].parts["sentences"],
    }


TASK = Task(
    name="ifeval",
    title="IFEval",
    source=("google/IFEval", None, "train"),
    problems=problems,
    grade=grade,
    summary=summary,
    max_tokens=1280,
)
