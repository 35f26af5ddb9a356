"""Tag-Evol: a harder instruction by injecting exactly b tags of the pool (arXiv 2505.24165, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from datasets import Dataset, Features, List, Value

from ..engines.base import Schema
from ..errors import DataError, ParseError
from ..parsing import JsonSchema, json_value, object_schema
from ..prompts import Prompt
from ..rows import ROW_FEATURES, Row, iterate, rejection, seed_for
from ..stage import Stage
from ..tags.pool import TagPool

STEP = "tag_evol"

FAN_FEATURES = Features(
    {
        **ROW_FEATURES,
        "seed_id": Value("string"),
        "seed_instruction": Value("string"),
        "seed_tags": List(Value("string")),
        "budget": Value("int64"),
        "candidates": List(Value("string")),
    }
)

_LEAKS = re.compile(
    r"</?(?:instruction|additional_input|candidates)>|candidate tags?|chosen tags?|tag list|#\s*tag|"
    r"(?:rewritten|evolved|original|final) (?:instruction|version)\s*:|rewritten instruction",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s+")
_LEAST_ROOM = 40  # words: even for b = 1 a model may need a sentence or two


def draw_candidates(
    dataset: Dataset, pool: TagPool, budgets: Sequence[int] = (1, 3, 5), candidates: int = 21, seed: int = 42
) -> Dataset:
    """One row for each seed and budget, with its own candidate tags (a fan; asks nothing).

    Every round starts from the seed, never from the round before. Row `x` with budget 3 gets the id `x/b3`. Each row
    draws from (seed, row id, budget) alone: shuffling, sharding or other rows change nothing. A row whose pool has
    fewer foreign tags than its budget is rejected with "too_few_candidates".

    Args:
        dataset: Seeds with the column `tags`.
        pool: Where the candidates come from.
        budgets: Numbers of tags to inject, each in 1..15, without repetition. The paper takes 1, 3, 5 for
            mathematics and 3, 5, 7 for code and general seeds.
        candidates: Candidates a row, the paper's 21.
        seed: Seed of the draw.

    Raises:
        DataError: If the data set has no column `tags`, or the numbers are out of range.
    """
    _check_numbers(budgets, candidates)
    if "tags" not in dataset.column_names:
        raise DataError(
            f"{STEP} needs the column tags; the data set has: {', '.join(dataset.column_names)}; "
            "apply AspectTagger first"
        )
    names = pool.tags
    columns: dict[str, list[Any]] = {name: [] for name in FAN_FEATURES}
    for row in iterate(dataset):
        for budget in budgets:
            for name, value in _evolving(row, budget, pool, names, candidates, seed).items():
                columns[name].append(value)
    return Dataset.from_dict(columns, features=FAN_FEATURES)


def _evolving(row: Row, budget: int, pool: TagPool, names: list[str], candidates: int, seed: int) -> dict[str, Any]:
    own = row["tags"] or []
    drawn = pool.draw(candidates, own, Random(seed_for(seed, row["id"], STEP, budget)), names)
    mark = row["rejection"]
    if mark is None and len(drawn) < budget:
        mark = rejection(STEP, "too_few_candidates", f"{len(drawn)} foreign tags in the pool, the budget is {budget}")
    return {
        **{name: row[name] for name in ("instruction", "input", "history")},
        "id": f"{row['id']}/b{budget}",
        "response": "",
        "rejection": mark,
        "seed_id": row["id"],
        "seed_instruction": row["instruction"],
        "seed_tags": own,
        "budget": budget,
        "candidates": drawn,
    }


def _check_numbers(budgets: Sequence[int], candidates: int) -> None:
    if not budgets or len(set(budgets)) != len(budgets) or not all(1 <= budget <= 15 for budget in budgets):
        raise DataError(f"{STEP}.budgets: expected different numbers from 1 to 15, got {list(budgets)}")
    if candidates < max(budgets):
        raise DataError(f"{STEP}.candidates: expected at least the largest budget ({max(budgets)}), got {candidates}")


@dataclass(frozen=True, kw_only=True)
class TagEvol(Stage):
    """Choose exactly b of the numbered candidates, plan, rewrite, review: one call.

    Reads what `draw_candidates` gives. Writes `instruction` (the evolved one), `chosen_tags` (b tags) and `plan`.
    The reply's schema demands exactly b numbers of the list; the check still verifies them. The schema is the same
    for all rows with the same budget and number of candidates.

    Attributes:
        words_per_tag: The rewrite may add up to `words_per_tag * b` words (the paper's 20); the check allows twice
            that, and never less than 40 words.
        max_chars: Upper bound of the rewritten and of the final instruction, in characters.
    """

    prompt: str | Path | Prompt = STEP
    temperature: float = 0.7
    max_tokens: int = 2048
    words_per_tag: int = 20
    max_chars: int = 4000

    name: ClassVar[str] = STEP
    needs: ClassVar[tuple[str, ...]] = (
        "instruction",
        "input",
        "seed_instruction",
        "seed_tags",
        "budget",
        "candidates",
    )
    features: ClassVar[Features] = Features(
        {
            "instruction": Value("string"),
            "chosen_tags": List(Value("string")),
            "plan": Value("string"),
        }
    )

    def schema_for(self, row: Row) -> Schema:
        """Exactly b numbers of the list, the plan, the rewritten and the final instruction."""
        return _evolution_schema(row["budget"], len(row["candidates"]), self.max_chars)

    def shared_for(self, row: Row) -> Mapping[str, str]:
        """The budget, the length rule and an example of the right number of numbers."""
        budget = row["budget"]
        return {
            "budget": str(budget),
            "most_words": str(self.words_per_tag * budget),
            "example_numbers": ", ".join(str(2 * place + 1) for place in range(budget)),
        }

    def values(self, row: Row) -> Mapping[str, str]:
        """The seed's instruction and input, and its candidates, one numbered line each."""
        numbered = (f"{number}. {tag}" for number, tag in enumerate(row["candidates"], 1))
        return {
            "instruction": row["seed_instruction"],
            "input": row["input"] or "(none)",
            "candidates": "\n".join(numbered),
        }

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The evolved instruction, the chosen tags and the plan.

        Raises:
            ParseError: "wrong_count", "not_a_candidate" or "repeated_choice"; "not_json" or "wrong_schema" where
                the form is wrong in another way.
        """
        try:
            answer = self.object_in(row, text)
        except ParseError as fault:
            raise _about_numbers(row, text, fault) from None
        chosen = _tags_by_number(answer["chosen"], row)
        return {"instruction": answer["final"].strip(), "chosen_tags": chosen, "plan": answer["plan"].strip()}

    def check(self, row: Row, parsed: Mapping[str, Any]) -> None:
        """The rules of the method.

        Raises:
            ParseError: "own_tag", "empty_reply", "unchanged", "leaked_prompt" or "too_much_growth".
        """
        seed, evolved = row["seed_instruction"], parsed["instruction"]
        own = set(row["seed_tags"] or ()).intersection(parsed["chosen_tags"])
        if own:
            raise ParseError("own_tag", ", ".join(sorted(own)))
        if not evolved:
            raise ParseError("empty_reply", "the final instruction is blank")
        if _plain(evolved) == _plain(seed):
            raise ParseError("unchanged")
        leak = _LEAKS.search(evolved)
        if leak and not _LEAKS.search(seed):
            raise ParseError("leaked_prompt", leak.group(0))
        most = max(_LEAST_ROOM, 2 * self.words_per_tag * row["budget"])
        grown = len(evolved.split()) - len(seed.split())
        if grown > most:
            raise ParseError("too_much_growth", f"{grown} words more than the seed, at most {most} are accepted")


@lru_cache(maxsize=256)
def _evolution_schema(budget: int, candidates: int, max_chars: int) -> JsonSchema:
    number = {"type": "integer", "minimum": 1, "maximum": candidates}
    text = {"type": "string", "minLength": 1, "maxLength": max_chars}
    return object_schema(
        STEP,
        {
            "chosen": {"type": "array", "items": number, "minItems": budget, "maxItems": budget},
            "plan": {"type": "string", "maxLength": 1500},
            "rewritten": text,
            "final": text,
        },
    )


def _tags_by_number(numbers: Sequence[int], row: Row) -> list[str]:
    """The chosen tags, in the order of their numbers."""
    candidates, budget = row["candidates"], row["budget"]
    if len(numbers) != budget:
        raise ParseError("wrong_count", f"{len(numbers)} chosen, the budget is {budget}")
    outside = [number for number in numbers if not 1 <= number <= len(candidates)]
    if outside:
        raise ParseError("not_a_candidate", f"{outside[0]} of 1..{len(candidates)}")
    if len(set(numbers)) != budget:
        raise ParseError("repeated_choice", str(list(numbers)))
    return [candidates[int(number) - 1] for number in sorted(numbers)]


def _about_numbers(row: Row, text: str, fault: ParseError) -> ParseError:
    """A schema fault said in the method's terms where it is about the chosen numbers."""
    if fault.reason != "wrong_schema":
        return fault
    answer = json_value(text)
    numbers = answer.get("chosen") if isinstance(answer, dict) else None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        return fault
    try:
        _tags_by_number(numbers, row)
    except ParseError as about:
        return about
    return fault


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()
