"""Recorded judgments and reviews of other programs, read from their files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .pairwise_figures import Comparison, Verdict
from .ratings import rating_in, two_scores_in
from .records import read_objects

Row = Mapping[str, Any]

# What a recorded winner means for the first answer.
_WINNERS: Mapping[str, Verdict] = {"1": "win", "2": "lose"}


@dataclass(frozen=True, slots=True)
class Judgment:
    """A judge's rating of one turn, as FastChat's files have it.

    Attributes:
        question: The question's id.
        turn: From 1.
        model: Whose answer it is; empty where the file does not say.
        judge: Who rated it; empty where the file does not say.
        score: As recorded; where nothing is, as read from the text; None where it is -1, or there is neither.
        in_text: The rating that the text holds; None where there is none.
        text: The judgment; None where the file does not have it.
    """

    question: str
    turn: int
    model: str
    judge: str
    score: float | None
    in_text: float | None
    text: str | None

    @property
    def disagrees(self) -> bool:
        """Whether the recorded score is another than the text's."""
        return self.text is not None and self.score != self.in_text


def read_judgments(path: Path) -> list[Judgment]:
    """Ratings, one a row, with `question_id`, `turn`, and `score`, `judgment` or both.

    Raises:
        DataError: If the file cannot be read, or a row has none of them, or something else in their place.
    """
    return [_judgment(f"{path}: row {number}", row) for number, row in enumerate(read_objects(path), 1)]


def read_reviews(path: Path, *, method: str | None = None) -> list[Comparison]:
    """Comparisons of two answers by a judge.

    Understood are: a file with `data`, whose rows have `scores` and `scores_reverse`, each in the order in which the
    answers were shown (Cherry, AlpaGasus); lines with `score`, of answers that were shown in one order (Vicuna); and
    LLMBar's runs with `results`, where a winner is named by the answer, not by its place. A run that rates each answer
    by itself has no order: its verdict is what the two scores say, equal ones are a tie.

    Args:
        path: The file.
        method: Of LLMBar's runs, where a file has several.

    Raises:
        DataError: If the file cannot be read, is none of these, or has several methods and none is named.
    """
    rows = read_objects(path)
    if len(rows) == 1 and isinstance(rows[0].get("data"), list):
        return [_both_orders(f"{path}: row {number}", number, row) for number, row in enumerate(rows[0]["data"], 1)]
    if rows and all("results" in row for row in rows):
        chosen = _of_method(path, rows, method)
        return [_run(f"{path}: {row.get('method')} {row.get('index')}", row) for row in chosen]
    if rows and all("score" in row and "text" in row for row in rows):
        return [_one_order(f"{path}: row {number}", number, row) for number, row in enumerate(rows, 1)]
    have = ", ".join(rows[0]) if rows else "no rows"
    raise DataError(f"{path}: expected reviews with `scores` and `scores_reverse`, `score`, or `results`; got: {have}")


def _judgment(where: str, row: Row) -> Judgment:
    question, turn, text = row.get("question_id"), row.get("turn"), row.get("judgment")
    if not isinstance(question, int | str) or isinstance(question, bool):
        raise DataError(f"{where}: question_id: expected a number or a text, got {question!r:.40}")
    if not isinstance(turn, int) or isinstance(turn, bool) or turn < 1:
        raise DataError(f"{where}: turn: expected 1 or 2, got {turn!r:.40}")
    if "score" not in row and not isinstance(text, str):
        raise DataError(f"{where}: expected `score` or `judgment`; the row has: {', '.join(row)}")
    text = text if isinstance(text, str) else None
    in_text = None if text is None else rating_in(text)
    score = _score(where, row["score"]) if row.get("score") is not None else in_text
    judge = row.get("judge")
    name = judge[0] if isinstance(judge, list) and judge else judge
    return Judgment(str(question), turn, str(row.get("model") or ""), str(name or ""), score, in_text, text)


def _score(where: str, value: object) -> float | None:
    """A recorded score; None for FastChat's -1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise DataError(f"{where}: score: expected a number, got {value!r:.40}")
    return None if value == -1 else float(value)


def _both_orders(where: str, number: int, row: object) -> Comparison:
    if not isinstance(row, dict) or "scores" not in row or "scores_reverse" not in row:
        found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where}: expected `scores` and `scores_reverse`, found: {found}")
    straight = _two(where, row["scores"], row.get("review"))
    reverse = _two(where, row["scores_reverse"], row.get("review_reverse"))
    orders = (_higher(straight), _higher(None if reverse is None else (reverse[1], reverse[0])))
    return Comparison(str(number), orders, _lengths(row.get("Answer1"), row.get("Answer2")))


def _one_order(where: str, number: int, row: Row) -> Comparison:
    return Comparison(str(row.get("question_id", number)), (_higher(_two(where, row["score"], row["text"])),))


def _two(where: str, value: object, text: object) -> tuple[float, float] | None:
    """Two scores as recorded, also as a text "[9.0, 8.5]", else as read from the review; None where one is below 0."""
    if value is None:
        return two_scores_in(text) if isinstance(text, str) else None
    try:
        first, second = json.loads(value) if isinstance(value, str) else value  # type: ignore[misc] # else a TypeError
        scores = float(first), float(second)
    except (TypeError, ValueError) as fault:
        raise DataError(f"{where}: expected two scores, got {value!r:.60}") from fault
    if not all(map(math.isfinite, scores)):
        raise DataError(f"{where}: expected two scores, got {value!r:.60}")
    return None if min(scores) < 0 else scores


def _higher(scores: tuple[float, float] | None) -> Verdict | None:
    if scores is None:
        return None
    return "win" if scores[0] > scores[1] else "lose" if scores[0] < scores[1] else "tie"


def _lengths(first: object, second: object) -> tuple[int, int] | None:
    return (len(first), len(second)) if isinstance(first, str) and isinstance(second, str) else None


def _of_method(path: Path, rows: Sequence[Row], method: str | None) -> list[Row]:
    methods = sorted({str(row.get("method")) for row in rows})
    if method is None and len(methods) > 1:
        raise DataError(f"{path}: has runs of several methods; name one of: {', '.join(methods)}")
    if method is not None and method not in methods:
        raise DataError(f"{path}: has no run of the method {method!r:.40}; there are: {', '.join(methods)}")
    return [row for row in rows if method is None or row.get("method") == method]


def _run(where: str, row: Row) -> Comparison:
    """The first result of a run: what follows settles where its two orders differ."""
    try:
        first = row["results"][0]
        if "score_1" in first:
            scores = [_number(first[name][0]) for name in ("score_1", "score_2")]
            orders: tuple[Verdict | None, ...] = (_higher(_pair_of(scores)),)
        else:
            orders = tuple(_WINNERS.get(str(first[f"swap = {swap}"]["winner"])) for swap in (False, True))
    except (KeyError, IndexError, TypeError) as fault:
        raise DataError(f"{where}: expected two scores, or a `winner` of both orders; no {fault}") from fault
    return Comparison(str(row.get("index")), orders)


def _pair_of(scores: Sequence[float | None]) -> tuple[float, float] | None:
    first, second = scores
    return None if first is None or second is None else (first, second)


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
