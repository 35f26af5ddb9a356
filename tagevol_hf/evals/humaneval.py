"""HumanEval: 164 functions to complete from their docstrings (arXiv 2107.03374); pass@1 of one answer each."""

from __future__ import annotations

from collections.abc import Sequence

from ..prompts import load_prompt
from .code_answers import completed
from .code_grades import grade_programs, summarize
from .columns import text_columns
from .task import Grade, Means, Output, Problem, Record, Task


def problems(records: Sequence[Record]) -> list[Problem]:
    """Records with `task_id`, `prompt`, `entry_point` and `test`, as of HumanEval and HumanEval+.

    Of HumanEval+ the tests of HumanEval are run: its own are inputs to compare with a reference.
    """
    text_columns("humaneval", records, "task_id", "prompt", "entry_point", "test")
    prompt = load_prompt("evals/humaneval")
    return [
        Problem(record["task_id"], (prompt.render({}, {"prompt": record["prompt"].strip()}),), record)
        for record in records
    ]


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    """Score 1 where the function passes its tests in the sandbox; see `code_grades.grade_programs`.

    Raises:
        RecipeError: If running code was not asked for, or this system cannot isolate it.
        EngineError: If the sandbox itself fails.
    """
    return grade_programs("humaneval", _program, problems, outputs, means)


def _program(problem: Problem, answer: str) -> str | None:
    record = problem.record
    code = completed(record["prompt"], record["entry_point"], answer)
    return None if code is None else f"{code}\n\n{record['test']}\n\ncheck({record['entry_point']})\n"


TASK = Task(
    name="humaneval",
    title="HumanEval",
    source=("openai/openai_humaneval", None, "test"),
    problems=problems,
    grade=grade,
    summary=summarize,
    max_tokens=2048,
    runs_code=True,
)
