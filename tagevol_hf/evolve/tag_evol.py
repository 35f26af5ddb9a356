"""Tag-Evol: a harder instruction by injecting exactly b tags of the pool (arXiv 2505.24165, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pyarrow as pa
from datasets import Dataset, Features, List, Value

from ..asking import seldom_collected
from ..engines.base import Schema
from ..errors import DataError, ParseError
from ..parsing import JsonSchema, fitting, json_value, object_schema
from ..prompts import Prompt
from ..rows import ROW_FEATURES, Row, iterate, rejection, seed_for
from ..stage import Stage
from ..tags.pool import TagPool
from .budgets import Adaptive, check_budgets
from .checks import check_rewrite

STEP = "tag_evol"
VARIANT_NAMES = ("paper", "release-math", "random")

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

_NUMBERED = re.compile(r"\W*(\d{1,3})\W*(.*)", re.DOTALL)
_LEAST_ROOM = 40  # words: even for b = 1 a model may need a sentence or two


def draw_candidates(
    dataset: Dataset,
    pool: TagPool,
    budgets: Sequence[int] | Adaptive = (1, 3, 5),
    candidates: int = 21,
    seed: int = 42,
    variant: str = "paper",
) -> Dataset:
    """One row for each seed and budget, with its own candidate tags (a fan; asks nothing).

    Every round starts from the seed, never from the round before. Row `x` with budget 3 gets the id `x/b3`. Each row
    draws from (seed, row id, budget) alone: shuffling, sharding or other rows change nothing. A row whose pool has
    fewer foreign tags than its budget is rejected with "too_few_candidates".

    Args:
        dataset: Seeds with the column `tags`.
        pool: Where the candidates come from.
        budgets: Numbers of tags to inject, each in 1..15, without repetition. The paper takes 1, 3, 5 for
            mathematics and 3, 5, 7 for code and general seeds. `Adaptive` gives each seed one budget of its own.
        candidates: Candidates a row, the paper's 21.
        seed: Seed of the draw.
        variant: A name of `VARIANTS`. For "random" a row's candidates are the b tags that it must take.

    Raises:
        DataError: If the data set has no column `tags`, or the numbers are out of range.
    """
    check_budgets(budgets, candidates)
    if variant not in VARIANT_NAMES:
        raise DataError(f"{STEP}.variant: expected one of {', '.join(VARIANT_NAMES)}, got {variant!r}")
    if "tags" not in dataset.column_names:
        raise DataError(
            f"{STEP} needs the column tags; the data set has: {', '.join(dataset.column_names)}; "
            "apply AspectTagger first"
        )
    adaptive = budgets.resolved(pool) if isinstance(budgets, Adaptive) else None
    given = [] if isinstance(budgets, Adaptive) else list(budgets)
    columns: dict[str, list[Any]] = {name: [] for name in FAN_FEATURES}
    with seldom_collected():
        for row in iterate(dataset):
            own = row["tags"] or []
            for budget in given if adaptive is None else [adaptive.of(len(set(own)))]:
                size = budget if variant == "random" else candidates
                drawn = pool.draw(size, own, Random(seed_for(seed, row["id"], STEP, budget)))
                for name, value in _evolving(row, own, budget, drawn).items():
                    columns[name].append(value)
        return Dataset(pa.table(columns, schema=FAN_FEATURES.arrow_schema))


def _evolving(row: Row, own: list[str], budget: int, drawn: list[str]) -> dict[str, Any]:
    mark = row["rejection"]
    if mark is None and len(drawn) < budget:
        mark = rejection(STEP, "too_few_candidates", f"{len(drawn)} foreign tags in the pool, the budget is {budget}")
    return {
        "id": f"{row['id']}/b{budget}",
        "instruction": row["instruction"],
        "input": row["input"],
        "response": "",
        "history": row["history"],
        "rejection": mark,
        "seed_id": row["id"],
        "seed_instruction": row["instruction"],
        "seed_tags": own,
        "budget": budget,
        "candidates": drawn,
    }


@dataclass(frozen=True, kw_only=True)
class TagEvol(Stage):
    """The paper's variant: choose exactly b of the numbered candidates, plan, rewrite, review; all in one call.

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
        return _schema(row["budget"], len(row["candidates"]), self.max_chars)

    def shared_for(self, row: Row) -> Mapping[str, str]:
        """The budget, the length rule and an example of the right number of numbers."""
        budget = row["budget"]
        return {
            "budget": str(budget),
            "most_words": str(self.words_per_tag * budget),
            "example_numbers": ", ".join(str(2 * place + 1) for place in range(budget)),
        }

    def values(self, row: Row) -> Mapping[str, str]:
        """The seed's instruction and input, its own tags, and its candidates, one numbered line each."""
        numbered = (f"{number}. {tag}" for number, tag in enumerate(row["candidates"], 1))
        return {
            "instruction": row["seed_instruction"],
            "input": row["input"] or "(none)",
            "own_tags": ", ".join(row["seed_tags"] or ()) or "(none)",
            "candidates": "\n".join(numbered),
        }

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The evolved instruction, the chosen tags and the plan.

        A server without structured output may write a number as text, or a candidate's name in its place; both are
        read.

        Raises:
            ParseError: "wrong_count", "not_a_candidate" or "repeated_choice"; "not_json" or "wrong_schema" where
                the form is wrong in another way.
        """
        answer = json_value(text)
        chosen = answer.get("chosen") if isinstance(answer, dict) else None
        if isinstance(chosen, list):
            numbers = [_number(entry, row["candidates"]) for entry in chosen]
            tags = _tags_by_number(numbers, row)
            answer = fitting({**answer, "chosen": numbers}, self.schema_for(row))
            return {"instruction": answer["final"].strip(), "chosen_tags": tags, "plan": answer["plan"].strip()}
        fitting(answer, self.schema_for(row))
        raise ParseError("wrong_schema", "chosen: expected a list of numbers")

    def check(self, row: Row, parsed: Mapping[str, Any]) -> None:
        """The rules of the method.

        Raises:
            ParseError: "own_tag", or as `check_rewrite`.
        """
        own = set(row["seed_tags"] or ()).intersection(parsed["chosen_tags"])
        if own:
            raise ParseError("own_tag", ", ".join(sorted(own)))
        self.check_text(row, parsed["instruction"])

    def check_text(self, row: Row, evolved: str) -> None:
        """The evolved text against the seed's.

        Raises:
            ParseError: As `check_rewrite`.
        """
        most = max(_LEAST_ROOM, 2 * self.words_per_tag * row["budget"])
        check_rewrite(row["seed_instruction"], evolved, row["input"] or "", most)


@lru_cache(maxsize=256)
def _schema(budget: int, candidates: int, max_chars: int) -> JsonSchema:
    text = text_schema(max_chars)
    chosen = chosen_schema(budget, candidates)
    return object_schema(STEP, {"chosen": chosen, "plan": PLAN, "rewritten": text, "final": text})


PLAN = {"type": "string", "maxLength": 1500}


def text_schema(max_chars: int) -> dict[str, Any]:
    """Schema of an instruction."""
    return {"type": "string", "minLength": 1, "maxLength": max_chars}


def chosen_schema(budget: int, candidates: int) -> dict[str, Any]:
    """Schema of exactly b numbers of the list of candidates."""
    number = {"type": "integer", "minimum": 1, "maximum": candidates}
    return {"type": "array", "items": number, "minItems": budget, "maxItems": budget}


def _number(entry: Any, candidates: Sequence[str]) -> Any:
    """The number that a model means: 3, 3.0, "3", "3. name" or a candidate's name; else the entry as it is."""
    if isinstance(entry, float) and entry.is_integer():
        return int(entry)
    if not isinstance(entry, str):
        return entry
    name = entry.strip().casefold()
    if name in (names := [tag.casefold() for tag in candidates]):
        return names.index(name) + 1
    match = _NUMBERED.fullmatch(entry.strip())
    if match is None:
        return entry
    number, rest = int(match.group(1)), match.group(2).strip().casefold()
    named = names[number - 1] if 1 <= number <= len(names) else ""
    return number if rest in ("", named) else entry


def _tags_by_number(numbers: Sequence[Any], row: Row) -> list[str]:
    """The chosen tags, in the order of their numbers."""
    candidates, budget = row["candidates"], row["budget"]
    if not all(type(number) is int or isinstance(number, str) for number in numbers):
        raise ParseError("wrong_schema", f"chosen: expected numbers of candidates, got {str(list(numbers))[:120]}")
    if len(numbers) != budget:
        raise ParseError("wrong_count", f"{len(numbers)} chosen, the budget is {budget}")
    outside = [number for number in numbers if type(number) is not int or not 1 <= number <= len(candidates)]
    if outside:
        raise ParseError("not_a_candidate", f"{str(outside[0])[:80]} of 1..{len(candidates)}")
    if len(set(numbers)) != budget:
        raise ParseError("repeated_choice", str(list(numbers)))
    return [candidates[number - 1] for number in sorted(numbers)]
