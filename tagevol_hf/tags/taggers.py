"""Taggers: aspects with their tags (Tag-Evol, section 3.1) and open tags (InsTag, used by TACOS, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from datasets import Features, List, Value

from ..engines.base import Schema
from ..errors import ParseError
from ..parsing import JsonSchema, clean_tag, has_word, object_schema, unique_tags
from ..prompts import Prompt
from ..rows import Row
from ..stage import Stage

_TAG = {"type": "string", "minLength": 1, "maxLength": 60}
_GRANULARITY = {
    "coarse": "coarse: broad enough that many other queries would share them",
    "fine": "fine: specific enough to tell this query from others in the same field",
}


def text_of(row: Row) -> str:
    """What the user says: the earlier user turns, the instruction and, apart by a blank line, the input."""
    before = [turn["content"] for turn in row.get("history") or () if turn["role"] == "user"]
    return "\n\n".join(part for part in (*before, row["instruction"], row.get("input") or "") if part)


@dataclass(frozen=True, kw_only=True)
class AspectTagger(Stage):
    """Tag-Evol's two steps in one call: aspects of an instruction, then knowledge tags under each.

    Writes `aspects` ([{aspect, tags}]) and `tags` (all tags, flattened: lower case, "_" as space, distinct).
    As in the paper, the tagger sees the instruction alone.

    Attributes:
        max_aspects: Most aspects of a row, >= 1.
        max_tags: Most tags under one aspect, >= 1.
    """

    prompt: str | Path | Prompt = "aspect_tags"
    temperature: float = 0.7
    max_tokens: int = 2048
    max_aspects: int = 6
    max_tags: int = 8

    name: ClassVar[str] = "aspect_tags"
    needs: ClassVar[tuple[str, ...]] = ("instruction",)
    features: ClassVar[Features] = Features(
        {
            "aspects": List({"aspect": Value("string"), "tags": List(Value("string"))}),
            "tags": List(Value("string")),
        }
    )

    @property
    def schema(self) -> Schema:
        """The aspects, each with its tags; every string is bounded."""
        return _aspects_schema(self.max_aspects, self.max_tags)

    @property
    def shared(self) -> Mapping[str, str]:
        """The two limits."""
        return {"max_aspects": str(self.max_aspects), "max_tags": str(self.max_tags)}

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction with the user's earlier turns."""
        return {"instruction": text_of({**row, "input": ""})}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Aspects and flattened tags.

        Raises:
            ParseError: "not_json", "wrong_schema" or "no_tags".
        """
        found = self.object_in(row, text)["aspects"]
        aspects = [
            {"aspect": clean_tag(part["aspect"]), "tags": tags} for part in found if (tags := unique_tags(part["tags"]))
        ]
        if not aspects:
            raise ParseError("no_tags", "no tag holds a letter or a digit")
        return {"aspects": aspects, "tags": unique_tags([tag for part in aspects for tag in part["tags"]])}


@dataclass(frozen=True, kw_only=True)
class OpenTagger(Stage):
    """InsTag's open tags of a query: labels without a fixed list, each with an explanation.

    Writes `open_tags` ([{tag, explanation}]).

    Attributes:
        granularity: "coarse" as in InsTag and TACOS, or "fine" for a single-step fine-grained tagging.
        max_tags: Most tags of a row, >= 1.
    """

    prompt: str | Path | Prompt = "open_tags"
    max_tokens: int = 2048
    granularity: Literal["coarse", "fine"] = "coarse"
    max_tags: int = 6

    name: ClassVar[str] = "open_tags"
    needs: ClassVar[tuple[str, ...]] = ("instruction",)
    features: ClassVar[Features] = Features(
        {"open_tags": List({"tag": Value("string"), "explanation": Value("string")})}
    )

    @property
    def schema(self) -> Schema:
        """The labels with their explanations; every string is bounded."""
        return _open_tags_schema(self.max_tags)

    @property
    def shared(self) -> Mapping[str, str]:
        """The limit and the granularity in words."""
        return {"max_tags": str(self.max_tags), "granularity": _GRANULARITY[self.granularity]}

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction with the user's earlier turns."""
        return {"instruction": text_of({**row, "input": ""})}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Distinct tags in the order given.

        Raises:
            ParseError: "not_json", "wrong_schema" or "no_tags".
        """
        explanations: dict[str, str] = {}
        for part in self.object_in(row, text)["tags"]:
            tag = clean_tag(part["tag"])
            if has_word(tag):
                explanations.setdefault(tag, part["explanation"].strip())
        if not explanations:
            raise ParseError("no_tags", "no tag holds a letter or a digit")
        return {"open_tags": [{"tag": tag, "explanation": why} for tag, why in explanations.items()]}


@lru_cache(maxsize=64)
def _aspects_schema(max_aspects: int, max_tags: int) -> JsonSchema:
    tags = {"type": "array", "items": _TAG, "minItems": 1, "maxItems": max_tags}
    aspect = object_schema("aspect", {"aspect": _TAG, "tags": tags})
    aspects = {"type": "array", "items": aspect, "minItems": 1, "maxItems": max_aspects}
    return object_schema("aspect_tags", {"aspects": aspects})


@lru_cache(maxsize=64)
def _open_tags_schema(max_tags: int) -> JsonSchema:
    explanation = {"type": "string", "maxLength": 200}
    tag = object_schema("open_tag", {"tag": _TAG, "explanation": explanation})
    return object_schema("open_tags", {"tags": {"type": "array", "items": tag, "minItems": 1, "maxItems": max_tags}})
