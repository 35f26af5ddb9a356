"""Deita's two scores of a row, complexity of the instruction and quality of the response (arXiv 2312.15685)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset, Features, Value

from ...engines.base import Engine, Schema
from ...parsing import JsonSchema, object_schema
from ...prompts import Prompt
from ...rows import Row
from ...stage import Stage
from ...tags.taggers import text_of


@dataclass(frozen=True, kw_only=True)
class ComplexityRater(Stage):
    """Rate from 1 to 6 how demanding an instruction is; writes `complexity`. Greedy."""

    prompt: str | Path | Prompt = "complexity"
    max_tokens: int = 64

    name: ClassVar[str] = "complexity"
    features: ClassVar[Features] = Features({"complexity": Value("float64")})

    @property
    def schema(self) -> Schema:
        """One whole number."""
        return _rating_schema(self.name)

    def values(self, row: Row) -> Mapping[str, str]:
        """What the user says."""
        return instruction_alone(row)

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The rating.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        return {self.name: float(self.object_in(row, text)[self.name])}


@dataclass(frozen=True, kw_only=True)
class QualityRater(Stage):
    """Rate from 1 to 6 how good a response is; writes `quality`. Greedy."""

    prompt: str | Path | Prompt = "quality"
    max_tokens: int = 64

    name: ClassVar[str] = "quality"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "response")
    features: ClassVar[Features] = Features({"quality": Value("float64")})

    @property
    def schema(self) -> Schema:
        """One whole number."""
        return _rating_schema(self.name)

    def values(self, row: Row) -> Mapping[str, str]:
        """What the user says, and the response."""
        return with_response(row)

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The rating.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        return {self.name: float(self.object_in(row, text)[self.name])}


def rate_for_deita(dataset: Dataset, engine: Engine, *, seed: int = 42) -> Dataset:
    """Both ratings of every row by an engine: two requests a row.

    Raises:
        DataError: If a column is missing.
        EngineError: If the engine fails.
    """
    stages: Sequence[Stage] = (ComplexityRater(engine, seed=seed), QualityRater(engine, seed=seed))
    for stage in stages:
        dataset = stage.apply(dataset)
    return dataset


def instruction_alone(row: Row) -> dict[str, str]:
    """Values of the prompt "complexity"."""
    return {"instruction": text_of(row)}


def with_response(row: Row) -> dict[str, str]:
    """Values of the prompt "quality"."""
    return {"instruction": text_of(row), "response": row["response"] or "(empty)"}


@cache
def _rating_schema(name: str) -> JsonSchema:
    return object_schema(name, {name: {"type": "integer", "minimum": 1, "maximum": 6}})
