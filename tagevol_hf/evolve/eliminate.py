"""Evol-Instruct's elimination: rewrites that failed leave (arXiv 2304.12244, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset, Features, Value

from ..engines.base import Schema
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import REJECTION, Row, rejection, with_columns
from ..stage import Stage
from .respond import Responder

_SHORT = 80  # words
_SORRY = re.compile(r"\bsorry\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_STOP_TEXT = """
a about am an and any are as at be been but by can could did do does for from had has have he her here him his how i if
in into is it its just me my no not of on or our out she should so some such than that the their them then there these
they this those to too up us very was we were what when where which while who why will with would yes you your
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


@dataclass(frozen=True, kw_only=True)
class EqualityJudge(Stage):
    """Asks whether a rewrite demands anything else than its parent; one that does not is rejected.

    Writes `gained`; rejects with "no_information_gain".
    """

    prompt: str | Path | Prompt = "evol_equality"
    max_tokens: int = 512

    name: ClassVar[str] = "evol_equality"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "parent_instruction")
    features: ClassVar[Features] = Features({"gained": Value("bool")})

    @property
    def schema(self) -> Schema:
        """What differs, and whether the two are equal."""
        return _schema()

    def values(self, row: Row) -> Mapping[str, str]:
        """The parent and the rewrite."""
        return {"first": row["parent_instruction"], "second": row["instruction"]}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Whether the rewrite gained anything.

        Raises:
            ParseError: "not_json" or "wrong_schema".
        """
        return {"gained": not self.object_in(row, text)["equal"]}

    def verdict(self, row: Row, parsed: Mapping[str, Any]) -> tuple[str, str] | None:
        """No gain, no row."""
        return None if parsed["gained"] else ("no_information_gain", "the judge finds both equal")


@dataclass(frozen=True)
class Eliminator:
    """What drops rewrites inside a round; copied words of the prompt are found by the checks of every rewrite.

    Attributes:
        judge: For rewrites without information gain; None leaves this rule out.
        responder: Answers the rewrites, so that bad answers tell bad instructions; None leaves these two rules out.
            The answers stay in `response`.
    """

    judge: EqualityJudge | None = None
    responder: Responder | None = None

    def apply(self, dataset: Dataset, method: str = "evol_instruct") -> Dataset:
        """The same rows, those that are dropped with "no_information_gain", "apology" or "empty_answer".

        Args:
            dataset: Rewrites of one round.
            method: Name of the stage that wrote them; a row whose answer is bad was rejected there.
        """
        if self.judge is not None:
            dataset = self.judge.apply(dataset)
        if self.responder is None:
            return dataset
        read = partial(_answered, method=method)
        return with_columns(self.responder.apply(dataset), read, Features({"rejection": REJECTION}))


def bad_answer(answer: str) -> str | None:
    """The rule that an answer breaks, "apology" or "empty_answer"; None for a good one.

    An apology says sorry in fewer than 80 words; an empty answer has nothing but punctuation and stop words.
    """
    words = [word.lower() for word in _WORD.findall(answer)]
    if all(word in _STOP_WORDS for word in words):
        return "empty_answer"
    return "apology" if len(words) < _SHORT and _SORRY.search(answer) else None


def _answered(row: Row, method: str) -> dict[str, Any]:
    mark = row["rejection"]
    if mark is None and (reason := bad_answer(row["response"])) is not None:
        mark = rejection(method, reason, "", row["response"], 1)
    return {"rejection": mark}


@lru_cache(maxsize=1)
def _schema() -> JsonSchema:
    difference = {"type": "string", "maxLength": 300}
    return object_schema("evol_equality", {"difference": difference, "equal": {"type": "boolean"}})
