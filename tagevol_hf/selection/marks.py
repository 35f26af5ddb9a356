"""The seven dimensions on which responses are judged, with equal weights (TACOS, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from datasets import Value

from ..parsing import JsonSchema, object_schema

DIMENSIONS = ("completeness", "clarity", "accuracy", "relevance", "explainability", "practicality", "safety")

MARKS = {name: Value("int64") for name in DIMENSIONS}

_MARK = {"type": "integer", "minimum": 1, "maximum": 100}


def marks_schema() -> JsonSchema:
    """Seven whole numbers from 1 to 100."""
    return object_schema("marks", dict.fromkeys(DIMENSIONS, _MARK))


def marks_in(answer: Mapping[str, int]) -> dict[str, int]:
    """The marks of one item, 1..100 each."""
    return {name: int(answer[name]) for name in DIMENSIONS}


def score_of(marks: Mapping[str, int]) -> float:
    """The mean of the seven marks, in 1..100: equal weights by construction."""
    return round(sum(marks.values()) / len(marks), 6)
