"""Taggers: aspects with their tags (Tag-Evol, section 3.1) and open tags (InsTag, used by TACOS, section 3.1).

Four ways to tag the seeds of Tag-Evol: `AspectTagger` (both steps in one call), `AspectNamer` and then `AspectFiller`
(a call each), or `OpenTagger` and then `flat_aspects` (tags without aspects, coarse or fine).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from datasets import Dataset, Features, List, Value

from ..engines.base import Schema
from ..errors import DataError, ParseError
from ..parsing import JsonSchema, clean_tag, has_word, object_schema, unique_tags
from ..prompts import Prompt
from ..rows import Row, with_columns
from ..stage import Stage

_TAG = {"type": "string", "minLength": 1, "maxLength": 60}
_OPEN_PROMPTS = {"coarse": "open_tags", "fine": "open_tags_fine"}

ASPECTS = Features(
    {
        "aspects": List({"aspect": Value("string"), "tags": List(Value("string"))}),
        "tags": List(Value("string")),
    }
)


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
    features: ClassVar[Features] = ASPECTS

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
        return _tagged((clean_tag(part["aspect"]), part["tags"]) for part in found)


@dataclass(frozen=True, kw_only=True)
class AspectNamer(Stage):
    """The first of Tag-Evol's two steps as a call of its own: the aspects of an instruction.

    Writes `aspect_names`, the most important first; `AspectFiller` asks for the tags under them.

    Attributes:
        max_aspects: Most aspects of a row, >= 1.
    """

    prompt: str | Path | Prompt = "name_aspects"
    temperature: float = 0.7
    max_tokens: int = 512
    max_aspects: int = 6

    name: ClassVar[str] = "name_aspects"
    needs: ClassVar[tuple[str, ...]] = ("instruction",)
    features: ClassVar[Features] = Features({"aspect_names": List(Value("string"))})

    @property
    def schema(self) -> Schema:
        """The names of the aspects; every string is bounded."""
        return _names_schema(self.max_aspects)

    @property
    def shared(self) -> Mapping[str, str]:
        """The limit."""
        return {"max_aspects": str(self.max_aspects)}

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction with the user's earlier turns."""
        return {"instruction": text_of({**row, "input": ""})}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Distinct names in the order given.

        Raises:
            ParseError: "not_json", "wrong_schema" or "no_tags".
        """
        names = unique_tags(self.object_in(row, text)["aspects"])
        if not names:
            raise ParseError("no_tags", "no aspect holds a letter or a digit")
        return {"aspect_names": names}


@dataclass(frozen=True, kw_only=True)
class AspectFiller(Stage):
    """The second of Tag-Evol's two steps as a call of its own: the tags under each of a row's aspects.

    Reads `aspect_names` and writes what `AspectTagger` writes. The reply is a dictionary, aspect → tags, in which
    numbers stand for the aspects: one schema serves all rows with the same number of aspects.

    Attributes:
        max_tags: Most tags under one aspect, >= 1.
    """

    prompt: str | Path | Prompt = "fill_aspects"
    temperature: float = 0.7
    max_tokens: int = 2048
    max_tags: int = 8

    name: ClassVar[str] = "aspect_tags"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "aspect_names")
    features: ClassVar[Features] = ASPECTS

    def schema_for(self, row: Row) -> Schema:
        """A list of tags for the number of every aspect."""
        return _filling_schema(len(row["aspect_names"] or ()), self.max_tags)

    @property
    def shared(self) -> Mapping[str, str]:
        """The limit."""
        return {"max_tags": str(self.max_tags)}

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction with the user's earlier turns, and its aspects, one numbered line each."""
        numbered = (f"{number}. {name}" for number, name in enumerate(row["aspect_names"] or (), 1))
        return {"instruction": text_of({**row, "input": ""}), "aspects": "\n".join(numbered)}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Aspects and flattened tags.

        Raises:
            ParseError: "not_json", "wrong_schema" or "no_tags".
        """
        found = self.object_in(row, text)
        names = row["aspect_names"] or ()
        return _tagged((name, found[str(number)]) for number, name in enumerate(names, 1))


@dataclass(frozen=True, kw_only=True)
class OpenTagger(Stage):
    """InsTag's open tags of a query: labels without a fixed list, each with an explanation.

    Writes `open_tags` ([{tag, explanation}]).

    Attributes:
        prompt: By default "open_tags" for coarse labels and "open_tags_fine" for fine ones.
        granularity: "coarse" as in InsTag and TACOS, or "fine" for a single-step fine-grained tagging.
        max_tags: Most tags of a row, >= 1.
    """

    max_tokens: int = 2048
    granularity: Literal["coarse", "fine"] = "coarse"
    max_tags: int = 6

    name: ClassVar[str] = "open_tags"
    needs: ClassVar[tuple[str, ...]] = ("instruction",)
    features: ClassVar[Features] = Features(
        {"open_tags": List({"tag": Value("string"), "explanation": Value("string")})}
    )

    def __post_init__(self) -> None:
        if self.granularity not in _OPEN_PROMPTS:
            expected = " or ".join(_OPEN_PROMPTS)
            raise ValueError(f"{self.name}.granularity: expected {expected}, got {self.granularity!r}")
        object.__setattr__(self, "prompt", self.prompt or _OPEN_PROMPTS[self.granularity])
        super().__post_init__()

    @property
    def schema(self) -> Schema:
        """The labels with their explanations; every string is bounded."""
        return _open_tags_schema(self.max_tags)

    @property
    def shared(self) -> Mapping[str, str]:
        """The limit."""
        return {"max_tags": str(self.max_tags)}

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


def flat_aspects(dataset: Dataset) -> Dataset:
    """The data set with `aspects` and `tags` from its `open_tags`: one aspect, named "", that holds all tags.

    So InsTag's coarse and the single-step fine tagging go where aspects are expected (the paper's ablation of the
    tagging). A pure map; a row without open tags, as a rejected one, gets none.

    Args:
        dataset: Rows with `open_tags`, as `OpenTagger.apply` gives them.

    Raises:
        DataError: If there is no column `open_tags`.
    """
    if "open_tags" not in dataset.column_names:
        raise DataError(
            f"flat_aspects needs the column open_tags; the data set has: {', '.join(dataset.column_names)}; "
            "apply OpenTagger first"
        )

    def flat(row: Row) -> dict[str, Any]:
        tags = unique_tags([part["tag"] for part in row["open_tags"] or () if part["tag"]])
        return {"aspects": [{"aspect": "", "tags": tags}], "tags": tags} if tags else {"aspects": None, "tags": None}

    return with_columns(dataset, flat, ASPECTS)


def _tagged(parts: Iterable[tuple[str, list[str]]]) -> dict[str, Any]:
    """`aspects` and `tags` of a row from (aspect, raw tags); an aspect without a usable tag is left out."""
    aspects = [{"aspect": name, "tags": tags} for name, raw in parts if (tags := unique_tags(raw))]
    if not aspects:
        raise ParseError("no_tags", "no tag holds a letter or a digit")
    return {"aspects": aspects, "tags": list(dict.fromkeys(tag for part in aspects for tag in part["tags"]))}


def _array(items: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


@lru_cache(maxsize=64)
def _aspects_schema(max_aspects: int, max_tags: int) -> JsonSchema:
    aspect = object_schema("aspect", {"aspect": _TAG, "tags": _array(_TAG, max_tags)})
    return object_schema("aspect_tags", {"aspects": _array(aspect, max_aspects)})


@lru_cache(maxsize=64)
def _names_schema(max_aspects: int) -> JsonSchema:
    return object_schema("name_aspects", {"aspects": _array(_TAG, max_aspects)})


@lru_cache(maxsize=64)
def _filling_schema(aspects: int, max_tags: int) -> JsonSchema:
    tags = _array(_TAG, max_tags)
    return object_schema("fill_aspects", {str(number): tags for number in range(1, aspects + 1)})


@lru_cache(maxsize=64)
def _open_tags_schema(max_tags: int) -> JsonSchema:
    explanation = {"type": "string", "maxLength": 200}
    tag = object_schema("open_tag", {"tag": _TAG, "explanation": explanation})
    return object_schema("open_tags", {"tags": _array(tag, max_tags)})
