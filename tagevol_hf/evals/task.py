"""What a benchmark is: problems from its records, and grades for what a model answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..engines.stored import StoredEngine
from ..errors import RecipeError

Record = Mapping[str, Any]
Output = tuple[str, ...] | None  # a text for each turn; None where the model gave none


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a benchmark.

    Attributes:
        id: Unique in the task.
        turns: What the user says, turn by turn; nearly always one.
        record: The benchmark's own row, which the grader reads.
    """

    id: str
    turns: tuple[str, ...]
    record: Record


@dataclass(frozen=True, slots=True)
class Grade:
    """What became of one problem.

    Attributes:
        id: Of the problem.
        score: From 0 to 1, or on the task's own scale; None where nothing could be said.
        verdict: In one or two words: "right", "wrong", "no answer", "timed out", …
        detail: For a person: expected and got, or the end of an error message.
        parts: Figures of parts of the problem: turns, instructions, the two orders of a comparison.
    """

    id: str
    score: float | None
    verdict: str
    detail: str = ""
    parts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Means:
    """What a grader may use.

    Attributes:
        judge: Engine of the judge; None where the task needs none.
        run_code: Whether generated code may be run, in a sandbox.
        workers: Processes at once, at least 1.
        references: Answers of another model by problem, for preferences.
    """

    judge: StoredEngine | None = None
    run_code: bool = False
    workers: int = 1
    references: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def judge_of(self, task: str) -> StoredEngine:
        """The judge.

        Raises:
            RecipeError: If there is none.
        """
        if self.judge is None:
            raise RecipeError(
                f"{task}: needs a judge; name its engine by --judge, as vllm:MODEL or http://HOST/v1#MODEL"
            )
        return self.judge


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark.

    Attributes:
        name: As in --tasks.
        title: For people.
        source: Where its records are on the Hub: (repository, configuration or None, split).
        problems: Records → problems. Raises DataError where a record lacks a column.
        grade: Problems and outputs, in the same order → grades, in the same order. An output that is None is not
            graded: its grade has the score None and the verdict "missing".
        metric: What the mean of the scores is called: "accuracy", "rating", "win_rate".
        summary: Further figures from all grades, by name.
        temperature: With which a problem's answers are drawn; 0 is greedy.
        with_references: Puts the reference answers of another file into the records; None where there are none.
        max_tokens: Upper bound of an answer, in tokens.
        judged: Whether a judge is needed.
        runs_code: Whether generated code is run.
    """

    name: str
    title: str
    source: tuple[str, str | None, str]
    problems: Callable[[Sequence[Record]], list[Problem]]
    grade: Callable[[Sequence[Problem], Sequence[Output], Means], list[Grade]]
    metric: str = "accuracy"
    summary: Callable[[Sequence[Grade]], Mapping[str, Any]] = lambda grades: {}
    temperature: Callable[[Problem], float] = lambda problem: 0.0
    with_references: Callable[[Sequence[Record], Sequence[Record]], list[Record]] | None = None
    max_tokens: int = 1024
    judged: bool = False
    runs_code: bool = False


def missing(problem: Problem) -> Grade:
    """The grade of a problem to which there is no output."""
    return Grade(problem.id, None, "missing")
