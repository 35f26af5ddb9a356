"""Two models' answers compared by a judge, each pair in both orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from datasets import Dataset, Features, Value

from ..engines.base import Engine
from ..errors import DataError, ParseError
from ..prompts import Prompt
from ..rows import Row, storable
from ..stage import Stage
from .pairwise_figures import Comparison, Preference, Verdict, check_choices, preference
from .ratings import Place, place_in

Places = tuple[Place | None, Place | None]

_PLACES: dict[str, tuple[Verdict, Verdict]] = {  # of the first answer: shown first, shown second
    "first": ("win", "lose"),
    "second": ("lose", "win"),
    "tie": ("tie", "tie"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one instruction.

    Attributes:
        id: Unique among the pairs.
        instruction: What both answer.
        answer: Of the model that is looked at.
        other: Of the one that it is compared with.
    """

    id: str
    instruction: str
    answer: str
    other: str


@dataclass(frozen=True, kw_only=True)
class PairJudge(Stage):
    """Which of two answers is better, or whether neither is. Greedy.

    Writes `place` ("first", "second" or "tie") and `judgment`, the reply.
    """

    prompt: str | Path | Prompt = "evals/pairwise"
    max_tokens: int = 2048

    name: ClassVar[str] = "pairwise"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "first_answer", "second_answer")
    features: ClassVar[Features] = Features({"place": Value("string"), "judgment": Value("string")})

    def values(self, row: Row) -> Mapping[str, str]:
        """The instruction and both answers; an empty answer is shown as such."""
        return {name: row[name] if row[name].strip() else "(empty)" for name in self.needs}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The verdict.

        Raises:
            ParseError: "empty_reply" or "wrong_schema".
        """
        if not text.strip():
            raise ParseError("empty_reply")
        place = place_in(text)
        if place is None:
            raise ParseError("wrong_schema", f"expected one verdict, [[A]], [[B]] or [[C]], got …{text[-80:]!r}")
        return {"place": place, "judgment": text}


def compare_answers(
    judge: Engine,
    pairs: Sequence[Pair],
    *,
    rule: str = "majority",
    incomplete: str = "refuse",
    attempts: int = 3,
    seed: int = 42,
) -> Preference:
    """Let a judge compare two models' answers, each pair in both orders.

    Args:
        judge: Any engine; with a store, what was asked before is not asked again.
        pairs: With ids that are all different.
        rule: "majority" or "conservative"; see `Comparison.verdict`.
        incomplete: "refuse" or "allow" that pairs have no verdict.
        attempts: How often a judgment is asked for at the most.
        seed: Of the draws after the first, which is greedy.

    Raises:
        DataError: If there are no pairs, or two with one id; if pairs have no verdict, and this is not allowed.
        ValueError: If there is no such rule, or no such choice.
        EngineError: If the engine fails.
    """
    check_choices(rule, incomplete)
    if not pairs:
        raise DataError("pairs: expected at least one to compare, got none")
    often, times = Counter(pair.id for pair in pairs).most_common(1)[0]
    if times > 1:
        raise DataError(f"pairs: expected different ids, got {often!r:.80} {times} times; number the pairs")
    places = _judged(judge, pairs, attempts, seed)
    comparisons = [
        Comparison(
            pair.id,
            tuple(None if place is None else _PLACES[place][order] for order, place in enumerate(both)),
            (len(pair.answer), len(pair.other)),
        )
        for pair, both in zip(pairs, places, strict=True)
    ]
    return preference(comparisons, rule=rule, incomplete=incomplete)


def _judged(judge: Engine, pairs: Sequence[Pair], attempts: int, seed: int) -> list[Places]:
    """For each pair which place wins, with `answer` shown first and with `other` shown first; None is unreadable."""
    shown = [_shown(pair, order) for pair in pairs for order in (0, 1)]
    judged = PairJudge(judge, attempts=attempts, seed=seed).apply(Dataset.from_list(shown))
    places = cast("list[Place | None]", list(judged["place"]))
    return list(zip(places[::2], places[1::2], strict=True))


def _shown(pair: Pair, order: int) -> dict[str, Any]:
    first, second = (pair.answer, pair.other) if order == 0 else (pair.other, pair.answer)
    row = {"id": f"{pair.id} {order}", "instruction": pair.instruction, "first_answer": first, "second_answer": second}
    return cast("dict[str, Any]", storable(row))
