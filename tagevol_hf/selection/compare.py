"""Comparative scoring: two answers in one question, scored against each other (TACOS, section 3.2).

The journey of a comparison: `pairs` (fan) → `Comparer` (map) → `fold_scores` (fold) → `add_scores` (map);
`compare_rows` takes the first two, in one round or, for the plan "swiss", in several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from datasets import Features, Value

from ..engines.base import Schema
from ..errors import ParseError
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import Row
from ..stage import Stage
from .free_text import scores_in_text
from .marks import MARKS, marks_in, marks_schema, score_of


@dataclass(frozen=True, kw_only=True)
class Comparer(Stage):
    """Compare the two items of a pair-row on seven dimensions of equal weight.

    Reads what `pairs` gives. Writes `analysis`, `first_score` and `second_score` (the means of the seven marks,
    1..100) and `dimensions` (the marks of both items, whole numbers 1..100). A judge that answers in free text with
    two scores from 1 to 100 is understood too; then the marks are null. Greedy, as in the paper.
    """

    prompt: str | Path | Prompt = "compare"
    max_tokens: int = 2048

    name: ClassVar[str] = "compare"
    needs: ClassVar[tuple[str, ...]] = (
        "first_instruction",
        "first_response",
        "second_instruction",
        "second_response",
    )
    features: ClassVar[Features] = Features(
        {
            "analysis": Value("string"),
            "first_score": Value("float64"),
            "second_score": Value("float64"),
            "dimensions": {"first": MARKS, "second": MARKS},
        }
    )

    @property
    def schema(self) -> Schema:
        """A short analysis, then the seven marks of both items."""
        return _comparison_schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """Both instructions and both responses; an empty response is shown as such."""
        return {name: row[name] or "(empty)" for name in self.needs}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Scores and marks.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        if text.strip() and "{" not in text:
            return _from_free_text(text)
        answer = self.object_in(row, text)
        marks = {side: marks_in(answer[side]) for side in ("first", "second")}
        return {
            "analysis": answer["analysis"].strip(),
            "first_score": score_of(marks["first"]),
            "second_score": score_of(marks["second"]),
            "dimensions": marks,
        }


def _from_free_text(text: str) -> dict[str, Any]:
    """Two scores out of a reply that holds no JSON."""
    first, second = scores_in_text(text)
    if not all(1 <= score <= 100 for score in (first, second)):
        raise ParseError("wrong_schema", f"expected scores from 1 to 100, got {first:g} and {second:g}")
    return {"analysis": text.strip(), "first_score": first, "second_score": second, "dimensions": None}


@cache
def _comparison_schema() -> JsonSchema:
    analysis = {"type": "string", "maxLength": 600}
    return object_schema("compare", {"analysis": analysis, "first": marks_schema(), "second": marks_schema()})
