"""Answers to instructions, greedy as in Tag-Evol (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from datasets import Features, Value

from ..errors import ParseError
from ..prompts import Prompt
from ..rows import Row
from ..stage import Stage


@dataclass(frozen=True, kw_only=True)
class Responder(Stage):
    """The model's answer to each row's instruction, in the row's conversation.

    Writes `response`. The paper drops answers that reach the limit of 4,096 tokens; here such a row is rejected
    with "truncated" after its attempts.
    """

    prompt: str | Path | Prompt = "respond"
    max_tokens: int = 4096
    attempts: int = 2

    name: ClassVar[str] = "respond"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input", "history")
    features: ClassVar[Features] = Features({"response": Value("string")})

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction and its input."""
        return {"instruction": row["instruction"], "input": row["input"] or "(none)"}

    def turns(self, row: Row) -> Sequence[Mapping[str, str]]:
        """The turns before the instruction, as they were."""
        return row["history"] or ()

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The text without surrounding blanks.

        Raises:
            ParseError: "empty_reply" for a blank text.
        """
        answer = text.strip()
        if not answer:
            raise ParseError("empty_reply")
        return {"response": answer}
