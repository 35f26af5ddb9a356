"""Refinement of the chosen rows: a better response, then a better instruction (TACOS, the refined variant)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset, Features, Value

from ..engines.base import Schema
from ..errors import ParseError
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import REJECTION, Row, with_columns
from ..stage import Stage
from ..tags.taggers import text_of


@dataclass(frozen=True, kw_only=True)
class ResponseRefiner(Stage):
    """Say what the response lacks, and write a better one. Writes `response_faults` and `refined_response`."""

    prompt: str | Path | Prompt = "refine_response"
    temperature: float = 0.7
    top_p: float = 0.8
    max_tokens: int = 2048

    name: ClassVar[str] = "refine_response"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "response")
    features: ClassVar[Features] = Features({"response_faults": Value("string"), "refined_response": Value("string")})

    @property
    def schema(self) -> Schema:
        """The faults, then the response."""
        return _schema("refine_response", "response")

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction, with earlier user turns before and additional input after, and the response."""
        return {"instruction": text_of(row), "response": row["response"] or "(empty)"}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """What was wrong, and the better response.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        return {
            "response_faults": answer["faults"].strip(),
            "refined_response": _not_empty(answer["response"], "response"),
        }


@dataclass(frozen=True, kw_only=True)
class InstructionRefiner(Stage):
    """Say what the instruction lacks, and write a better one that the response answers.

    Writes `instruction_faults` and `refined_instruction`; additional input stays as it is.
    """

    prompt: str | Path | Prompt = "refine_instruction"
    temperature: float = 0.7
    top_p: float = 0.8

    name: ClassVar[str] = "refine_instruction"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "response")
    features: ClassVar[Features] = Features(
        {"instruction_faults": Value("string"), "refined_instruction": Value("string")}
    )

    @property
    def schema(self) -> Schema:
        """The faults, then the instruction."""
        return _schema("refine_instruction", "instruction")

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction with earlier user turns before, the additional input, and the response."""
        return {
            "instruction": text_of({**row, "input": ""}),
            "input": row["input"] or "(none)",
            "response": row["response"] or "(empty)",
        }

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """What was wrong, and the better instruction.

        Raises:
            ParseError: "empty_reply", "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        return {
            "instruction_faults": answer["faults"].strip(),
            "refined_instruction": _not_empty(answer["instruction"], "instruction"),
        }


def refine(dataset: Dataset, responses: ResponseRefiner, instructions: InstructionRefiner) -> Dataset:
    """The data set with better responses, then better instructions; every row stays, in order.

    Where a reply cannot be used, that part of the row stays as it is. `original_response` and `original_instruction`
    hold what was there before; `response_kept` and `instruction_kept` say why a part did not change, "" where it did.

    Args:
        dataset: The chosen rows, with `instruction` and `response`.
        responses: Asked first.
        instructions: Asked about the row with its new response.

    Raises:
        DataError: If a column is missing.
        EngineError: If the engine fails.
    """
    answered = _in_place(responses.apply(dataset), "response", responses.name)
    return _in_place(instructions.apply(answered), "instruction", instructions.name)


def _in_place(dataset: Dataset, part: str, stage: str) -> Dataset:
    """The new text in the place of the old one; a row whose reply failed keeps the old, with the reason."""
    new = f"refined_{part}"
    written = Features(
        {part: Value("string"), f"original_{part}": Value("string"), f"{part}_kept": Value("string"),
         "rejection": REJECTION}
    )  # fmt: skip

    def read(row: Row) -> dict[str, Any]:
        mark = row["rejection"]
        kept = "" if mark is None else ": ".join(filter(None, (mark["reason"], mark["detail"])))
        return {
            part: row[part] if mark is not None else row[new],
            f"original_{part}": row[part],
            f"{part}_kept": kept,
            "rejection": mark if mark is not None and mark["stage"] != stage else None,
        }

    return with_columns(dataset, read, written).remove_columns([new])


def _not_empty(text: str, what: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise ParseError("empty_reply", f"the new {what} is empty")
    return stripped


@cache
def _schema(title: str, part: str) -> JsonSchema:
    faults = {"type": "string", "maxLength": 600}
    return object_schema(title, {"faults": faults, part: {"type": "string", "minLength": 1}})
