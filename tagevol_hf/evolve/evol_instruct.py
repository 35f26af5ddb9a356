"""Evol-Instruct: rewriting by one of a few operators (WizardLM, arXiv 2304.12244, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..engines.base import Schema
from ..errors import ParseError
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt, load_text
from ..rows import Row, seed_for
from .checks import check_rewrite
from .rounds import Rewriter

OPERATORS = ("constraints", "deepen", "concretize", "reasoning", "breadth")
ALL_OPERATORS = (*OPERATORS, "complicate_input")
_ROOM = 40  # words: twice what the prompt allows


@dataclass(frozen=True, kw_only=True)
class EvolInstruct(Rewriter):
    """One round of Evol-Instruct, for `evolve_in_rounds`.

    Attributes:
        operators: Names of `ALL_OPERATORS`. "breadth" writes a new instruction of the same field; the others make
            this one harder. "complicate_input" adds code, a table or a formula, and is off by default, as in the
            released code.
        assign: "rotate" goes through the list from a start that is drawn for the row, so that each operator comes
            once before one comes again; "random" draws for each round. (Tag-Evol's baseline rotates by the row's
            position, which makes the result depend on the order of the rows.)
        texts: What each operator says; read from this package's files.
    """

    prompt: str | Path | Prompt = "evol_instruct"
    operators: tuple[str, ...] = OPERATORS
    assign: Literal["rotate", "random"] = "rotate"
    texts: tuple[str, ...] = ()

    name: ClassVar[str] = "evol_instruct"

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.operators if name not in ALL_OPERATORS]
        if unknown or not self.operators:
            found = repr(unknown[0]) if unknown else "none"
            raise ValueError(f"{self.name}.operators: expected some of {', '.join(ALL_OPERATORS)}, got {found}")
        if self.assign not in ("rotate", "random"):
            raise ValueError(f'{self.name}.assign: expected "rotate" or "random", got {self.assign!r}')
        texts = self.texts or [load_text(f"operators/{name}") for name in self.operators]
        if len(texts) != len(self.operators):
            raise ValueError(f"{self.name}.texts: expected one for each of {len(self.operators)}, got {len(texts)}")
        object.__setattr__(self, "operators", tuple(self.operators))
        object.__setattr__(self, "texts", tuple(texts))

    @property
    def schema(self) -> Schema:
        """The new instruction."""
        return _schema(self.max_chars)

    def operator_for(self, seed_id: str, number: int) -> str:
        """The operator of a seed in a round."""
        if self.assign == "random":
            return self.operators[seed_for(self.seed, seed_id, self.name, number) % len(self.operators)]
        return self.operators[(seed_for(self.seed, seed_id, self.name) + number) % len(self.operators)]

    def shared_for(self, row: Row) -> Mapping[str, str]:
        """What the row's operator says."""
        return {"method": self.texts[self.operators.index(row["operator"])]}

    def most_words(self, row: Row) -> int | None:
        """Twice the 20 words that an operator allows; any number for added material."""
        return None if row["operator"] == "complicate_input" else _ROOM

    def check(self, row: Row, parsed: Mapping[str, Any]) -> None:
        """The rules for every rewrite; in breadth the parent's material may go.

        Raises:
            ParseError: As `check_rewrite`.
        """
        if row["operator"] != "breadth":
            super().check(row, parsed)
            return
        try:
            check_rewrite(row["parent_instruction"], parsed["instruction"], most_words=_ROOM)
        except ParseError as fault:
            if fault.reason != "lost_input":
                raise


@lru_cache(maxsize=16)
def _schema(max_chars: int) -> JsonSchema:
    return object_schema("evol_instruct", {"final": {"type": "string", "minLength": 1, "maxLength": max_chars}})
