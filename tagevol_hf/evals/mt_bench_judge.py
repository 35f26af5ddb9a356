"""Asking a judge for the rating of one turn of an MT-Bench conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from datasets import Dataset, Features, Value

from ..engines.base import Engine
from ..errors import ParseError
from ..rows import Row, storable
from ..stage import Stage
from .mt_bench_figures import HIGHEST, LOWEST
from .ratings import only_rating_in

_COLUMNS = ("question_1", "answer_1", "reference_1", "question_2", "answer_2", "reference_2")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Two turns to be judged.

    Attributes:
        id: Unique.
        questions: What the user said.
        answers: What the model answered.
        reference: Answers that are known to be good, or None.
    """

    id: str
    questions: tuple[str, str]
    answers: tuple[str, str]
    reference: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Rating:
    """What the judge said about one turn.

    Attributes:
        value: From 1 to 10; None where no readable rating came in all attempts.
        said: The reply, or why there is none.
    """

    value: float | None
    said: str


@dataclass(frozen=True, kw_only=True)
class TurnJudge(Stage):
    """Rate one turn from 1 to 10, in free text (MT-Bench's single-answer grading, arXiv 2306.05685). Greedy.

    Writes `rating` and `judgment`, the reply. The prompt's name says which turn, and whether there is a reference.
    """

    max_tokens: int = 2048

    name: ClassVar[str] = "mt_bench"
    needs: ClassVar[tuple[str, ...]] = _COLUMNS
    features: ClassVar[Features] = Features({"rating": Value("float64"), "judgment": Value("string")})

    def values(self, row: Row) -> Mapping[str, str]:
        """The conversation; an empty answer is shown as such."""
        return {name: row[name] if row[name].strip() else "(empty)" for name in _COLUMNS}

    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """The rating.

        Raises:
            ParseError: "empty_reply" or "wrong_schema".
        """
        if not text.strip():
            raise ParseError("empty_reply")
        rating = only_rating_in(text)
        if rating is None or not LOWEST <= rating <= HIGHEST:
            raise ParseError("wrong_schema", f"expected one rating [[n]] from 1 to 10, got …{text[-80:]!r}")
        return {"rating": rating, "judgment": text}


def rate(
    judge: Engine, talks: Sequence[Conversation], *, attempts: int = 3, seed: int = 42
) -> list[tuple[Rating, Rating]]:
    """Both turns' ratings of each conversation, in order.

    Args:
        judge: Any engine.
        talks: With ids that are all different.
        attempts: How often a rating is asked for at the most.
        seed: Of the draws after the first, which is greedy.

    Raises:
        EngineError: If the engine fails.
    """
    found: dict[tuple[str, int], Rating] = {}
    for turn in (1, 2):
        for ending in ("", "_reference"):
            asked = [talk for talk in talks if bool(ending) == (talk.reference is not None)]
            stage = TurnJudge(judge, prompt=f"evals/mt_bench_turn_{turn}{ending}", attempts=attempts, seed=seed)
            found |= {(talk.id, turn): rating for talk, rating in zip(asked, _judged(stage, asked, turn), strict=True)}
    return [(found[talk.id, 1], found[talk.id, 2]) for talk in talks]


def _judged(stage: TurnJudge, talks: Sequence[Conversation], turn: int) -> list[Rating]:
    if not talks:
        return []
    return [_rating(row) for row in stage.apply(Dataset.from_list([_row(talk, turn) for talk in talks]))]


def _row(talk: Conversation, turn: int) -> dict[str, Any]:
    references = talk.reference or ("", "")
    texts = [text for parts in zip(talk.questions, talk.answers, references, strict=True) for text in parts]
    return cast("dict[str, Any]", storable({"id": f"{talk.id} {turn}", **dict(zip(_COLUMNS, texts, strict=True))}))


def _rating(row: Row) -> Rating:
    mark = row["rejection"]
    if mark is None:
        return Rating(row["rating"], row["judgment"])
    return Rating(None, ": ".join(part for part in (mark["reason"], mark["detail"]) if part))
