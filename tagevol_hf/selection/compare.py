"""Comparative scoring: two answers in one question, scored against each other (TACOS, section 3.2).

The journey of a comparison: `pairs` (fan) → `Comparer` (map) → `fold_scores` (fold) → `add_scores` (map).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from datasets import Features, Value

from ..engines.base import Schema
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import Row
from ..stage import Stage
from .pairing import pairs
from .scores import Score, add_scores, fold_scores, reliability

__all__ = ["DIMENSIONS", "Comparer", "Score", "add_scores", "fold_scores", "pairs", "reliability"]

DIMENSIONS = ("completeness", "clarity", "accuracy", "relevance", "explainability", "practicality", "safety")

_MARK = {"type": "integer", "minimum": 1, "maximum": 100}
_MARKS = {name: Value("int64") for name in DIMENSIONS}


@dataclass(frozen=True, kw_only=True)
class Comparer(Stage):
    """Compare the two items of a pair-row on seven dimensions of equal weight.

    Reads what `pairs` gives. Writes `analysis`, `first_score` and `second_score` (1..100) and `dimensions` (the
    marks of both items, 1..100 each). Greedy, as in the paper.
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
            "first_score": Value("int64"),
            "second_score": Value("int64"),
            "dimensions": {"first": _MARKS, "second": _MARKS},
        }
    )

    @property
    def schema(self) -> Schema:
        """A short analysis, then for both items the seven marks and the score."""
        return _comparison_schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """Both instructions and both responses; an empty response is shown as such."""
        return {name: row[name] or "(empty)" for name in self.needs}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Scores and marks.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        marks = {side: {name: int(answer[side][name]) for name in DIMENSIONS} for side in ("first", "second")}
        return {
            "analysis": answer["analysis"].strip(),
            "first_score": int(answer["first"]["score"]),
            "second_score": int(answer["second"]["score"]),
            "dimensions": marks,
        }


@cache
def _comparison_schema() -> JsonSchema:
    item = object_schema("item", {**dict.fromkeys(DIMENSIONS, _MARK), "score": _MARK})
    analysis = {"type": "string", "maxLength": 600}
    return object_schema("compare", {"analysis": analysis, "first": item, "second": item})
