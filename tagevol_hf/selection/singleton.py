"""Singleton scoring: each response judged by itself, to compare comparative scoring with (TACOS, section 3.2)."""

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
from ..tags.taggers import text_of
from .marks import MARKS, marks_in, marks_schema, score_of


@dataclass(frozen=True, kw_only=True)
class SingleScorer(Stage):
    """Rate one response on the same seven dimensions as `Comparer`, without another to measure it by.

    Writes `single_analysis`, `single_score` (the mean of the seven marks, 1..100) and `single_marks`. Greedy.
    """

    prompt: str | Path | Prompt = "single_score"

    name: ClassVar[str] = "single_score"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "response")
    features: ClassVar[Features] = Features(
        {"single_analysis": Value("string"), "single_score": Value("float64"), "single_marks": MARKS}
    )

    @property
    def schema(self) -> Schema:
        """A short analysis, then the seven marks."""
        return _single_schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction, with earlier user turns before and additional input after, and the response."""
        return {"instruction": text_of(row), "response": row["response"] or "(empty)"}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Score and marks.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        marks = marks_in(answer["marks"])
        return {"single_analysis": answer["analysis"].strip(), "single_score": score_of(marks), "single_marks": marks}


@cache
def _single_schema() -> JsonSchema:
    return object_schema("single_score", {"analysis": {"type": "string", "maxLength": 400}, "marks": marks_schema()})
