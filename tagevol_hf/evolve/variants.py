"""Tag-Evol's variants, by name: each is the same step with another task and prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from ..engines.base import Schema
from ..errors import ParseError, RecipeError
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt
from ..rows import Row
from .checks import check_rewrite
from .tag_evol import PLAN, VARIANT_NAMES, TagEvol, chosen_schema, text_schema


@dataclass(frozen=True, kw_only=True)
class FromScratch(TagEvol):
    """A new instruction in the seed's manner from its own tags and b chosen ones, not a rewrite.

    That is what the released code for mathematics does. The seed's text is only the model of form: material of the
    seed may go, and the new text may be as long as `max_chars`.
    """

    prompt: str | Path | Prompt = "tag_evol_from_scratch"

    def __post_init__(self) -> None:
        super().__post_init__()
        text = cast(Prompt, self.prompt)
        if "{{own_tags}}" not in text.row + text.shared:
            raise RecipeError(
                f"prompt {text.name}: the variant release-math shows the seed's own tags, and this text has no place "
                "{{own_tags}}; take tag_evol_from_scratch, or a text of your own after it"
            )

    def schema_for(self, row: Row) -> Schema:
        """Exactly b numbers of the list, the plan, and the new instruction."""
        return _from_scratch_schema(row["budget"], len(row["candidates"]), self.max_chars)

    def check_text(self, row: Row, evolved: str) -> None:
        """As for a rewrite, but any length will do, and the seed's material need not be there."""
        try:
            check_rewrite(row["seed_instruction"], evolved)
        except ParseError as fault:
            if fault.reason != "lost_input":
                raise


@dataclass(frozen=True, kw_only=True)
class GivenTags(TagEvol):
    """All of b tags that were drawn for the row must be used: the ablation without a choice."""

    prompt: str | Path | Prompt = "tag_evol_given"

    def __post_init__(self) -> None:
        super().__post_init__()
        text = cast(Prompt, self.prompt)
        if "{{example_numbers}}" in text.row + text.shared:
            raise RecipeError(
                f"prompt {text.name}: the variant random leaves no choice, and this text asks for chosen numbers; take "
                "tag_evol_given, or a text of your own after it"
            )

    def schema_for(self, row: Row) -> Schema:
        """The plan, the rewritten and the final instruction."""
        return _given_schema(self.max_chars)

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The evolved instruction and the plan; the chosen tags are all that were given.

        Raises:
            ParseError: "not_json" or "wrong_schema"; "wrong_count" where the row does not have b candidates.
        """
        given, budget = row["candidates"], row["budget"]
        if len(given) != budget:
            raise ParseError("wrong_count", f'{len(given)} tags given, the budget is {budget}; draw for "random"')
        answer = self.object_in(row, text)
        return {"instruction": answer["final"].strip(), "chosen_tags": list(given), "plan": answer["plan"].strip()}


VARIANTS: Mapping[str, type[TagEvol]] = MappingProxyType(
    dict(zip(VARIANT_NAMES, (TagEvol, FromScratch, GivenTags), strict=True))
)


@lru_cache(maxsize=256)
def _from_scratch_schema(budget: int, candidates: int, max_chars: int) -> JsonSchema:
    chosen, text = chosen_schema(budget, candidates), text_schema(max_chars)
    return object_schema("tag_evol_from_scratch", {"chosen": chosen, "plan": PLAN, "final": text})


@lru_cache(maxsize=16)
def _given_schema(max_chars: int) -> JsonSchema:
    text = text_schema(max_chars)
    return object_schema("tag_evol_given", {"plan": PLAN, "rewritten": text, "final": text})
