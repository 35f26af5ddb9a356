"""What the optimiser is asked: which trajectories failed, and for a better method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from datasets import Dataset, Features, List, Value

from ..engines.base import Schema
from ..errors import ParseError
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import REJECTION, Row
from ..stage import Stage

_MOST_FAILURES, _LONGEST = 50, 6000
_QUESTION = Features({"id": Value("string"), "cases": Value("string"), "method": Value("string"),
                      "feedback": Value("string"), "rejection": REJECTION})  # fmt: skip


class Analysis(NamedTuple):
    """What the optimiser sees in the trajectories of a step.

    Attributes:
        failures: {case, reason}; cases count from 1.
        feedback: The failures and the sum, in words.
        note: Why there is nothing, where the optimiser's reply could not be used; else empty.
    """

    failures: tuple[dict[str, Any], ...]
    feedback: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TrajectoryAnalyst(Stage):
    """Names the failed cases among trajectories, with reasons, and sums up.

    Writes `failures` ([{case, reason}]) and `feedback`.
    """

    prompt: str | Path | Prompt = "trajectory_analysis"
    max_tokens: int = 4096

    name: ClassVar[str] = "trajectory_analysis"
    needs: ClassVar[tuple[str, ...]] = ("cases",)
    features: ClassVar[Features] = Features(
        {"failures": List({"case": Value("int64"), "reason": Value("string")}), "feedback": Value("string")}
    )

    @property
    def schema(self) -> Schema:
        """The failures and the sum."""
        return _analysis_schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """The cases."""
        return {"cases": row["cases"]}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Failures and feedback.

        Raises:
            ParseError: "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        return {"failures": answer["failures"], "feedback": answer["feedback"].strip()}

    def analyse(self, number: int, trajectories: Sequence[Sequence[str]]) -> Analysis:
        """The failures that step `number` shows, and the feedback."""
        cases = "\n\n".join(_case(place, stages) for place, stages in enumerate(trajectories, 1))
        (row,) = self.apply(_questions([{"id": f"step{number}", "cases": cases}]))
        if row["rejection"] is not None:
            return Analysis((), "", f"no analysis: {row['rejection']['reason']}")
        failures = [one for one in row["failures"] if 1 <= one["case"] <= len(trajectories)]
        named = (f"Case {one['case']}: {one['reason']}" for one in failures)
        return Analysis(tuple(failures), "\n".join([*named, row["feedback"]]))


@dataclass(frozen=True, kw_only=True)
class MethodOptimizer(Stage):
    """Writes a better method from the one that is there and the feedback on it.

    Writes `method`.
    """

    prompt: str | Path | Prompt = "method_optimization"
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 4096

    name: ClassVar[str] = "method_optimization"
    needs: ClassVar[tuple[str, ...]] = ("method", "feedback")
    features: ClassVar[Features] = Features({"method": Value("string")})

    @property
    def schema(self) -> Schema:
        """The method."""
        return _method_schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """The method and the feedback."""
        return {"method": row["method"], "feedback": row["feedback"] or "(nothing in particular)"}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The method's text.

        Raises:
            ParseError: "not_json" or "wrong_schema"; "empty_reply" for a blank method.
        """
        method = self.object_in(row, text)["method"].strip()
        if not method:
            raise ParseError("empty_reply", "the method is blank")
        return {"method": method}

    def write(self, number: int, method: str, feedback: str, candidates: int) -> list[tuple[str, str]]:
        """So many candidates for step `number`: (method, "") or ("", why there is none)."""
        body = {"method": method, "feedback": feedback}
        rows = self.apply(_questions([{"id": f"step{number}/m{place}", **body} for place in range(1, candidates + 1)]))
        return [
            (row["method"], "") if row["rejection"] is None else ("", f"no method: {row['rejection']['reason']}")
            for row in rows
        ]


def _questions(rows: Sequence[Mapping[str, str]]) -> Dataset:
    return Dataset.from_list([{**dict.fromkeys(_QUESTION), **row} for row in rows], features=_QUESTION)


def _case(place: int, stages: Sequence[str]) -> str:
    lines = (f"Stage {number}: {text}" for number, text in enumerate(stages))
    return "\n".join([f"Case {place}", *lines])


@lru_cache(maxsize=1)
def _analysis_schema() -> JsonSchema:
    failure = object_schema(
        "failure",
        {"case": {"type": "integer", "minimum": 1, "maximum": 1000}, "reason": {"type": "string", "maxLength": 400}},
    )
    failures = {"type": "array", "items": failure, "maxItems": _MOST_FAILURES}
    feedback = {"type": "string", "maxLength": 2000}
    return object_schema("trajectory_analysis", {"failures": failures, "feedback": feedback})


@lru_cache(maxsize=1)
def _method_schema() -> JsonSchema:
    return object_schema("method_optimization", {"method": {"type": "string", "minLength": 1, "maxLength": _LONGEST}})
