"""The result of a task: a mean that always stands beside its n, how many were expected, and an interval."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import DataError
from ..homes import portable
from .task import Grade, Task

CONFIDENCE = 0.95
_Z = 1.959963984540054  # of a normal distribution, two-sided, at this confidence


@dataclass(frozen=True, slots=True)
class Result:
    """What a model reached in a task.

    Attributes:
        task: Its name.
        metric: What the mean is called: "accuracy", "rating", "win_rate".
        mean: Of all scores; None where nothing was graded.
        n: Problems with a score.
        n_expected: Problems that were to be graded.
        interval: (low, high) of the mean at `confidence`: Wilson's for scores of 0 and 1, else normal; None for n < 2
            where scores are on a scale.
        verdicts: How often each verdict was given.
        summary: Further figures of the task.
        grades: One for each problem, in the task's order.
        about: Which model, which engine, which data, which versions.
    """

    task: str
    metric: str
    mean: float | None
    n: int
    n_expected: int
    interval: tuple[float, float] | None
    verdicts: Mapping[str, int]
    summary: Mapping[str, Any]
    grades: tuple[Grade, ...]
    about: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    confidence: float = CONFIDENCE

    def figures(self) -> dict[str, Any]:
        """All but the grades, as plain JSON values; the mean stands under the metric's name, too."""
        return {
            "task": self.task,
            "metric": self.metric,
            self.metric: self.mean,
            "mean": self.mean,
            "n": self.n,
            "n_expected": self.n_expected,
            "interval": list(self.interval) if self.interval else None,
            "confidence": self.confidence,
            "verdicts": dict(self.verdicts),
            "summary": dict(self.summary),
            **self.about,
        }

    def save(self, folder: Path) -> Path:
        """Write `TASK.json`, with the grades, whole or not at all.

        Where a task grades by two rules, and they disagree on some problems, these are in `TASK-disagreements.txt`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.task}.json"
        grades = [_plain(grade) for grade in self.grades]
        _write(file, json.dumps({**portable(self.figures()), "grades": grades}, ensure_ascii=False, indent=1))
        doubtful = [grade for grade in self.grades if "disagree" in grade.parts]
        if doubtful:
            lines = [f"{grade.id}\n  {grade.detail}\n  {grade.parts['disagree']}\n" for grade in doubtful]
            head = f"{self.task}: two rules of grading disagree on {len(doubtful)} of {self.n} problems\n"
            _write(folder / f"{self.task}-disagreements.txt", "\n".join([head, *lines]))
        return file


def result_of(task: Task, grades: Sequence[Grade], about: Mapping[str, Any], *, incomplete: str = "refuse") -> Result:
    """Sum up the grades of a task.

    Args:
        task: The task.
        grades: One for each problem that was to be graded.
        about: What was graded, for the record.
        incomplete: What happens where problems have no output or an unreadable judgment: "refuse" or "allow".

    Raises:
        DataError: If no problem has a score; or if one has none, and this is not allowed.
    """
    scores = [grade.score for grade in grades if grade.score is not None]
    verdicts = Counter(grade.verdict for grade in grades)
    if len(scores) < len(grades) and (incomplete == "refuse" or not scores):
        lacking = Counter(grade.verdict for grade in grades if grade.score is None)
        said = ", ".join(f"{count:,} {verdict}" for verdict, count in lacking.most_common())
        raise DataError(
            f"{task.name}: only {len(scores):,} of {len(grades):,} have a score ({said})"
            + ("; a mean of the rest is given with --incomplete allow" if scores else "")
        )
    mean = math.fsum(scores) / len(scores) if scores else None
    return Result(
        task=task.name,
        metric=task.metric,
        mean=mean,
        n=len(scores),
        n_expected=len(grades),
        interval=interval(scores),
        verdicts=dict(verdicts.most_common()),
        summary=dict(task.summary(grades)),
        grades=tuple(grades),
        about=dict(about),
    )


def _write(file: Path, text: str) -> None:
    """A file that is either the old one or complete."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(text.rstrip("\n") + "\n", encoding="utf-8", errors="backslashreplace")
    beside.replace(file)


def _plain(grade: Grade) -> dict[str, Any]:
    values = {"id": grade.id, "score": grade.score, "verdict": grade.verdict, "detail": grade.detail}
    return {**values, "parts": dict(grade.parts)}


def interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """A 95 % interval of the mean: Wilson's for scores of 0 and 1, else normal.

    Args:
        scores: Independent of each other.

    Returns:
        (low, high), or None where there are too few scores to say anything.
    """
    n = len(scores)
    if n == 0:
        return None
    mean = math.fsum(scores) / n
    if all(score in (0, 1) for score in scores):
        centre, share = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n), 1 / (1 + _Z**2 / n)
        half = share * _Z * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)
    if n == 1:
        return None
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (n - 1))
    half = _Z * deviation / math.sqrt(n)
    return mean - half, mean + half
