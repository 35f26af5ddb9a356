"""MBPP: short programs from a sentence and three tests (arXiv 2108.07732); pass@1 of one answer each."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError
from ..prompts import load_prompt
from .code_answers import called, program_of
from .code_grades import grade_programs, summarize
from .task import Grade, Means, Output, Problem, Record, Task


def problems(records: Sequence[Record]) -> list[Problem]:
    """Every record of MBPP (`text`), its sanitized half (`prompt`) or MBPP+ (`prompt`, `assertion`) is a problem.

    A record has `task_id`; `text` or `prompt`; `test_list` or `assertion`; perhaps `test_setup_code` or `test_imports`.
    The published test split is tasks 11 to 510; a file of all 974 is taken as it is.

    Raises:
        DataError: If a record lacks one of these.
    """
    prompt = load_prompt("evals/mbpp")
    found = []
    for number, record in enumerate(records):
        _check(record, number)
        values = {"text": _text(record), "tests": "\n".join(_tests(record))}
        found.append(Problem(str(record["task_id"]), (prompt.render({}, values),), record))
    return found


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    """Score 1 where the program passes its tests in the sandbox; see `code_grades.grade_programs`.

    Raises:
        RecipeError: If running code was not asked for, or this system cannot isolate it.
        EngineError: If the sandbox itself fails.
    """
    return grade_programs("mbpp", _program, problems, outputs, means)


def _program(problem: Problem, answer: str) -> str | None:
    """The setup comes first, as published, which is why the reference answers of tasks 367 and 927 fail."""
    tests = "\n".join(_tests(problem.record))
    code = program_of(answer, called(tests))
    return None if code is None else "\n\n".join((_setup(problem.record), code, tests)) + "\n"


def _check(record: Record, number: int) -> None:
    wanted = {
        "task_id": isinstance(record.get("task_id"), (int, str)),
        "text": isinstance(record.get("text", record.get("prompt")), str),
        "test_list": bool(_tests(record)),
    }
    for name, good in wanted.items():
        if not good:
            have = ", ".join(map(str, record)) or "nothing"
            raise DataError(f"mbpp: row {number}: {name}: missing or not usable; the row has: {have}")


def _text(record: Record) -> str:
    return str(record.get("text", record.get("prompt"))).strip().removeprefix('"""').removesuffix('"""').strip()


def _tests(record: Record) -> list[str]:
    tests = record.get("test_list", record.get("assertion"))
    if isinstance(tests, str):
        return [tests.strip()] if tests.strip() else []
    usable = isinstance(tests, (list, tuple)) and all(isinstance(test, str) for test in tests)
    return list(tests) if usable and tests else []


def _setup(record: Record) -> str:
    imports = record.get("test_imports") or ()
    lines = [imports] if isinstance(imports, str) else map(str, imports)
    if "assertion" in record:
        lines = ["import math", *lines]  # which MBPP+'s assertions use and do not import
    return "\n".join([*lines, record.get("test_setup_code") or ""])


TASK = Task(
    name="mbpp",
    title="MBPP",
    source=("google-research-datasets/mbpp", "full", "test"),
    problems=problems,
    grade=grade,
    summary=summarize,
    max_tokens=1024,
    runs_code=True,
)
