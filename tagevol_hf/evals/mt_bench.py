"""MT-Bench: conversations of two turns, each rated by a judge (arXiv 2306.05685)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeGuard

from ..errors import DataError
from .mt_bench_figures import Rated, by_category, by_turn, mean_of
from .mt_bench_judge import Conversation, Rating, rate
from .task import Grade, Means, Output, Problem, Record, Task, missing

# With which an answer is drawn, by category; another category's is `_OTHER`.
TEMPERATURES: Mapping[str, float] = MappingProxyType(
    {
        "writing": 0.7,
        "roleplay": 0.7,
        "extraction": 0.0,
        "math": 0.0,
        "coding": 0.0,
        "reasoning": 0.0,
        "stem": 0.1,
        "humanities": 0.1,
    }
)
_OTHER = 0.7

# The judge sees a reference answer only where there is a right one.
WITH_REFERENCE = frozenset({"math", "reasoning", "coding"})

# The published file's names of the columns, and those of the copy on the Hub.
_IDS, _TURNS = ("question_id", "prompt_id"), ("turns", "prompt")
_SHOWN = 400  # characters of a judgment


def problems(records: Sequence[Record]) -> list[Problem]:
    """Records with `question_id`, `category`, two `turns` and perhaps `reference`, as in question.jsonl.

    The names of the Hub's copy (`prompt_id`, `prompt`) are understood, too. The turns are asked as they are.
    """
    found = [_problem(row, record) for row, record in enumerate(records)]
    seen: set[str] = set()
    for row, problem in enumerate(found):
        if problem.id in seen:
            raise DataError(f"mt_bench: row {row}: question_id: {problem.id} stands in an earlier row, too")
        seen.add(problem.id)
    return found


def with_references(records: Sequence[Record], references: Sequence[Record]) -> list[Record]:
    """The records with the reference answers of another file in `reference`.

    Args:
        records: As for `problems`.
        references: As in reference_answer_gpt-4.jsonl: `question_id`, and the turns in `choices[0].turns`. Questions
            that are not among the records are left aside.

    Raises:
        DataError: If a row of the references lacks one of these.
    """
    known = dict(_reference_answer(row, one) for row, one in enumerate(references))
    return [
        {**record, "reference": known[question]} if (question := _question(record)) in known else record
        for record in records
    ]


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    """The mean of a judge's two ratings, from 1 to 10, one for each turn.

    Reasoning, mathematics and coding are judged with the reference answer where the record has one.

    Raises:
        RecipeError: If there is no judge.
        EngineError: If the judge's engine fails.
    """
    judge = means.judge_of("mt_bench")
    talks = [_talk(*one) for one in zip(problems, outputs, strict=True)]
    ratings = iter(rate(judge, [talk for talk in talks if talk is not None]))
    return [
        _missing(problem, output) if talk is None else _grade(problem, *next(ratings))
        for problem, output, talk in zip(problems, outputs, talks, strict=True)
    ]


def summary(grades: Sequence[Grade]) -> dict[str, Any]:
    """Of single ratings: all, by turn, by category; how many were unreadable, and how many had no reference."""
    rated = [
        Rated(grade.id, turn, grade.parts.get("category", ""), grade.parts.get(f"turn_{turn}"))
        for grade in grades
        for turn in (1, 2)
    ]
    judged = [grade for grade in grades if grade.verdict != "missing"]
    return {
        "ratings": mean_of(rated),
        "turns": by_turn(rated),
        "categories": by_category(rated),
        "unreadable": sum(grade.parts[f"turn_{turn}"] is None for grade in judged for turn in (1, 2)),
        "without_reference": sum(
            grade.parts["category"] in WITH_REFERENCE and not grade.parts["reference"] for grade in judged
        ),
    }


def temperature(problem: Problem) -> float:
    """With which the problem's answers are drawn; see `TEMPERATURES`."""
    return TEMPERATURES.get(problem.record["category"], _OTHER)


def _problem(row: int, record: Record) -> Problem:
    turns = next((record[name] for name in _TURNS if name in record), None)
    have = ", ".join(map(str, record)) or "nothing"
    if not _two_texts(turns):
        found = "missing" if turns is None else f"{turns!r:.60}"
        raise DataError(f"mt_bench: row {row}: turns: expected a list of two texts, found {found}; the row has: {have}")
    if not isinstance(record.get("category"), str):
        raise DataError(f"mt_bench: row {row}: category: expected a text; the row has: {have}")
    if _question(record) is None:
        raise DataError(f"mt_bench: row {row}: question_id: expected a number or a text; the row has: {have}")
    return Problem(f"mt_bench/{_question(record)}", (turns[0], turns[1]), record)


def _question(record: Record) -> str | None:
    return next((str(record[name]) for name in _IDS if isinstance(record.get(name), int | str)), None)


def _two_texts(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _reference_answer(row: int, record: Record) -> tuple[str, list[str]]:
    question, choices = _question(record), record.get("choices")
    turns = choices[0].get("turns") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    if question is None or not _two_texts(turns):
        raise DataError(
            f"mt_bench: reference answers: row {row}: expected question_id and two texts in choices[0].turns; "
            f"the row has: {', '.join(map(str, record)) or 'nothing'}"
        )
    return question, list(turns)


def _reference(record: Record) -> tuple[str, str] | None:
    found = record.get("reference")
    if record["category"] not in WITH_REFERENCE or not _two_texts(found) or not all(map(str.strip, found)):
        return None
    return found[0], found[1]


def _talk(problem: Problem, output: Output) -> Conversation | None:
    if output is None or len(output) != 2:
        return None
    turns = problem.turns
    return Conversation(problem.id, (turns[0], turns[1]), (output[0], output[1]), _reference(problem.record))


def _missing(problem: Problem, output: Output) -> Grade:
    detail = "" if output is None else f"expected an answer to each of 2 turns, got {len(output)}"
    return replace(missing(problem), detail=detail, parts={"category": problem.record["category"]})


def _grade(problem: Problem, first: Rating, second: Rating) -> Grade:
    said = [f"turn {turn}: {_end(rating.said)}" for turn, rating in ((1, first), (2, second))]
    parts = {
        "turn_1": first.value,
        "turn_2": second.value,
        "category": problem.record["category"],
        "reference": _reference(problem.record) is not None,
    }
    if first.value is None or second.value is None:
        return Grade(problem.id, None, "unreadable", "\n".join(said), parts)
    return Grade(problem.id, (first.value + second.value) / 2, "rated", "\n".join(said), parts)


def _end(text: str) -> str:
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"


TASK = Task(
    name="mt_bench",
    title="MT-Bench",
    source=("HuggingFaceH4/mt_bench_prompts", None, "train"),
    problems=problems,
    grade=grade,
    metric="rating",
    summary=summary,
    temperature=temperature,
    with_references=with_references,
    judged=True,
)
