"""AlpaGasus: responses graded for accuracy, the best kept (arXiv 2307.08701)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset, Features, Value

from ...engines.base import Schema
from ...parsing import JsonSchema, object_schema
from ...prompts import Prompt
from ...rows import Row
from ...stage import Stage
from ...tags.taggers import text_of
from ..choice import Selection
from .candidates import Ranked, counted, descending, finite, read_candidates

_GRADES = tuple(step / 2 for step in range(11))  # 0, 0.5, … 5


@dataclass(frozen=True, kw_only=True)
class Grader(Stage):
    """Grade the accuracy of one response from 0 to 5, in halves.

    Writes `grade` and `grade_reason`, which comes first in the reply. Greedy, as in the paper.
    """

    prompt: str | Path | Prompt = "grade"

    name: ClassVar[str] = "grade"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "response")
    features: ClassVar[Features] = Features({"grade": Value("float64"), "grade_reason": Value("string")})

    @property
    def schema(self) -> Schema:
        """A short reason, then the grade."""
        return _grade_schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction, with earlier user turns before and additional input after, and the response."""
        return {"instruction": text_of(row), "response": row["response"] or "(empty)"}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Grade and reason.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        return {"grade": float(answer["grade"]), "grade_reason": " ".join(answer["reason"].split())}


@cache
def _grade_schema() -> JsonSchema:
    reason = {"type": "string", "maxLength": 300}
    return object_schema("grade", {"reason": reason, "grade": {"type": "number", "enum": list(_GRADES)}})


@dataclass(frozen=True)
class AlpaGasus:
    """Rows graded `threshold` or better: all of the highest grade, then a uniform sample of the next one, and so on.

    Attributes:
        threshold: Lowest grade that is kept, in 0..5; the paper's is 4.5.
        seed: Of the samples inside a grade.
    """

    threshold: float = 4.5
    seed: int = 42

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; reads `grade`."""
        candidates = read_candidates("alpagasus", dataset, n, {"grade": "Grader"})
        grades = [finite(row["grade"]) for row in candidates.rows]
        kept = [row for row, grade in enumerate(grades) if grade is not None and grade >= self.threshold]
        kept.sort(key=lambda row: (descending(grades[row]), candidates.draw(row, self.seed)))
        ranking = [Ranked(row, grades[row], f"grade {grades[row]:g}, seed {self.seed}") for row in kept[:n]]
        short = n > len(ranking)
        blind = sum(grade is None for grade in grades) if short else 0
        low = len(grades) - len(kept) - blind if short else 0
        below = counted(low, f"rows with a grade below {self.threshold:g} are not taken")
        return candidates.chosen(ranking, n, below, counted(blind, "rows without a grade are not taken"))
