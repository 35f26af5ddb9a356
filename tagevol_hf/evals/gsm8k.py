"""GSM8K: word problems of primary school (arXiv 2110.14168)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from ..answers.equal import number, plain
from ..answers.final import final_answer
from ..errors import DataError
from ..prompts import load_prompt
from .columns import text_columns
from .task import Grade, Means, Output, Problem, Record, Task, missing

_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{(-?[\d.,]+)\}\s*\{(-?[\d.,]+)\}")
_MIXED = re.compile(r"(-?)(\d+)\s+(\d+)/(\d+)")
_TIMES_TEN = re.compile(
    r"(-?[\d.]+)\s*(?:(?:\\times|\\cdot|[x×*])\s*10\s*\^\s*\{?\s*(-?\d{1,2})\s*\}?|e([+-]?\d{1,2}))", re.IGNORECASE
)
_WORTH = re.compile(r"[-+−–]?\s?(?:\d[\d,]*\.?\d*|\.\d+)(?:\s*/\s*\d+)?")
_MARKED = re.compile(r"boxed|####|answer|答案|\n", re.IGNORECASE)
_SHOWN, _SHORT = 120, 30  # characters


def problems(records: Sequence[Record]) -> list[Problem]:
    """Records with `question` and `answer`, which ends in `#### NUMBER`."""
    text_columns("gsm8k", records, "question", "answer")
    prompt = load_prompt("evals/gsm8k")
    for row, record in enumerate(records):
        if reference(record) is None:
            raise DataError(f"gsm8k: row {row}: answer: expected a number behind ####, got {record['answer'][-60:]!r}")
    return [
        Problem(f"gsm8k/{row}", (prompt.render({}, {"question": record["question"]}),), record)
        for row, record in enumerate(records)
    ]


def reference(record: Record) -> Fraction | None:
    """The number behind ####."""
    return value(record["answer"].rpartition("####")[2])


def grade(problems: Sequence[Problem], outputs: Sequence[Output], means: Means) -> list[Grade]:
    r"""Right where the final answer has the reference's value.

    The answer is what the last `\boxed{}` holds, else what follows `####` or "the answer is", else the last number.
    """
    return [_grade(problem, output) for problem, output in zip(problems, outputs, strict=True)]


def value(answer: str) -> Fraction | None:
    r"""The value of an answer: the number that it is, or the last number in it.

    Thousands' commas, currency, percent signs and units are left aside; fractions (`3/4`, `\frac{3}{4}`, `1 1/2`) and
    powers of ten are read.
    """
    text = plain(answer.replace("\\%", "").replace("%", "").replace("−", "-").replace("–", "-"))
    text = _LATEX_FRACTION.sub(r" \1/\2", text).strip()
    if mixed := _MIXED.fullmatch(text):
        return _mixed(mixed)
    if power := _TIMES_TEN.fullmatch(text):
        base, exponent = number(power[1]), int(power[2] or power[3])
        return None if base is None else base * Fraction(10) ** exponent
    whole = number(text)
    if whole is not None:
        return whole
    found = [number(match.replace(" ", "").replace(",", "")) for match in _WORTH.findall(text[-2000:])]
    return next((one for one in reversed(found) if one is not None), None)


def _mixed(match: re.Match[str]) -> Fraction | None:
    sign, whole, above, below = match.groups()
    if int(below) == 0:
        return None
    found = int(whole) + Fraction(int(above), int(below))
    return -found if sign else found


def _grade(problem: Problem, output: Output) -> Grade:
    if output is None:
        return missing(problem)
    wanted = problem.record["answer"].rpartition("####")[2].strip()
    answer = _answer(output[-1])
    got = None if answer is None else value(answer)
    if got is None:
        return Grade(problem.id, 0.0, "no answer", f"expected {wanted:.{_SHOWN}}")
    right = got == reference(problem.record)
    return Grade(problem.id, float(right), "right" if right else "wrong", f"expected {wanted}, got {answer:.{_SHOWN}}")


def _answer(output: str) -> str | None:
    """The final answer; a short output in which nothing is marked is one as a whole."""
    bare = output.strip()
    return bare if 0 < len(bare) <= _SHORT and not _MARKED.search(bare) else final_answer(output)


TASK = Task(
    name="gsm8k",
    title="GSM8K",
    source=("openai/gsm8k", "main", "test"),
    problems=problems,
    grade=grade,
)
