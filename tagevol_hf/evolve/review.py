"""A second look at evolved instructions: are the tags in it, is the task kept? After Tag-Evol's audit of failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from datasets import Features, List, Value

from ..engines.base import Schema
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import Row
from ..stage import Stage

FINDINGS = ("tag_not_integrated", "core_task_lost", "hallucinated_constraint")
_MOST_FOUND = 5


@dataclass(frozen=True, kw_only=True)
class TagReview(Stage):
    """Asks, best of another engine, whether each chosen tag shapes the instruction and its core task is kept.

    Writes `integrated_tags` (those of the chosen tags that do), `core_kept`, and `hallucinated` (demands that neither
    the seed nor a tag explains). A row with a finding that `reject` names is rejected; it keeps these columns.

    Attributes:
        reject: Which findings reject a row, of "tag_not_integrated", "core_task_lost", "hallucinated_constraint".
    """

    prompt: str | Path | Prompt = "review"
    reject: tuple[str, ...] = ("tag_not_integrated", "core_task_lost")

    name: ClassVar[str] = "review"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "seed_instruction", "chosen_tags")
    features: ClassVar[Features] = Features(
        {
            "integrated_tags": List(Value("string")),
            "core_kept": Value("bool"),
            "hallucinated": List(Value("string")),
        }
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "reject", tuple(self.reject))
        unknown = [name for name in self.reject if name not in FINDINGS]
        if unknown:
            raise ValueError(f"{self.name}.reject: {unknown[0]!r} is not a finding; known: {', '.join(FINDINGS)}")

    def schema_for(self, row: Row) -> Schema:
        """One yes or no for each chosen tag in its order, one for the task, and a few short texts."""
        return _schema(len(row["chosen_tags"] or ()))

    def values(self, row: Row) -> Mapping[str, str]:
        """The seed, the evolved instruction, and the chosen tags, one numbered line each."""
        numbered = (f"{number}. {tag}" for number, tag in enumerate(row["chosen_tags"] or (), 1))
        return {
            "seed": row["seed_instruction"],
            "instruction": row["instruction"],
            "tags": "\n".join(numbered),
        }

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """What was found.

        Raises:
            ParseError: "not_json" or "wrong_schema".
        """
        answer = self.object_in(row, text)
        pairs = zip(row["chosen_tags"] or (), answer["integrated"], strict=True)
        found = [" ".join(text.split()) for text in answer["hallucinated"]]
        return {
            "integrated_tags": [tag for tag, shapes in pairs if shapes],
            "core_kept": answer["core_kept"],
            "hallucinated": [text for text in found if text],
        }

    def verdict(self, row: Row, parsed: Mapping[str, Any]) -> tuple[str, str] | None:
        """The first finding that `reject` names."""
        missing = [tag for tag in row["chosen_tags"] or () if tag not in parsed["integrated_tags"]]
        details = {
            "tag_not_integrated": ", ".join(missing),
            "core_task_lost": "" if parsed["core_kept"] else "the task is another one",
            "hallucinated_constraint": "; ".join(parsed["hallucinated"]),
        }
        return next(((name, details[name]) for name in FINDINGS if name in self.reject and details[name]), None)


@lru_cache(maxsize=32)
def _schema(tags: int) -> JsonSchema:
    integrated = {"type": "array", "items": {"type": "boolean"}, "minItems": tags, "maxItems": tags}
    found = {"type": "array", "items": {"type": "string", "maxLength": 200}, "maxItems": _MOST_FOUND}
    return object_schema("review", {"integrated": integrated, "core_kept": {"type": "boolean"}, "hallucinated": found})
