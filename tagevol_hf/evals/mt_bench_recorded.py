"""The mean of recorded MT-Bench judgments, which stands beside how many it rests on, or is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .judgments import Judgment, read_judgments
from .mt_bench import TASK, problems
from .mt_bench_figures import HIGHEST, LOWEST, Rated, by_category, by_turn, mean_of
from .result import Result
from .task import Grade, Record

Place = tuple[str, int]  # question, turn

_QUESTIONS = tuple(str(number) for number in range(81, 161))  # of MT-Bench, where no file is given
_TURNS = (1, 2)
_SHOWN = 300  # characters of a judgment


def recorded_result(
    path: Path,
    *,
    questions: Sequence[Record] | None = None,
    model: str | None = None,
    judge: str | None = None,
    incomplete: str = "refuse",
    unreadable: str = "count",
    duplicates: str = "refuse",
) -> Result:
    """Sum up single-answer judgments as FastChat saves them.

    A recorded score counts as it is; where a row has none, it is read from the judgment's text. Scores of -1, texts
    without a rating and ratings outside 1..10 are unreadable: counted, and never part of a mean. Where a recorded score
    differs from the text's, the summary's `disagreements` names it.

    Args:
        path: JSON lines with `question_id`, `turn`, `score`, `judgment`.
        questions: The benchmark's records, for the categories and for what is expected; by default MT-Bench's 80
            questions, without categories.
        model: Whose answers, where the file has those of several.
        judge: Whose judgments, likewise.
        incomplete: "refuse" or "allow" that judgments are missing.
        unreadable: "count" unreadable judgments, or "refuse" them.
        duplicates: "refuse", or take the "last" of several judgments of a turn.

    Returns:
        One grade for each expected turn, with ids such as "mt_bench/81/2"; n and n_expected are of turns, and the
        interval is clustered by question. The summary has the means by turn and by category.

    Raises:
        DataError: If the file cannot be read, has several models or judges and none is named, a question that is not
            expected, a turn twice, or too few judgments.
        ValueError: If a choice is none of those above.
    """
    _check_choices(incomplete, unreadable, duplicates)
    categories = _categories(questions)
    found = read_judgments(path)
    found = _chosen(path, "model", model, [one.model for one in found], found)
    found = _chosen(path, "judge", judge, [one.judge for one in found], found)
    by_place = _by_place(path, found, categories, duplicates)
    rated = [
        Rated(question, turn, category, _rating(by_place.get((question, turn))))
        for question, category in categories.items()
        for turn in _TURNS
    ]
    _check_complete(path, by_place, rated, incomplete, unreadable)
    about = {"judgments": str(path), "model": found[0].model, "judge": found[0].judge}
    return _result(rated, by_place, about)


def _check_choices(incomplete: str, unreadable: str, duplicates: str) -> None:
    for name, value, known in (
        ("incomplete", incomplete, ("refuse", "allow")),
        ("unreadable", unreadable, ("count", "refuse")),
        ("duplicates", duplicates, ("refuse", "last")),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected {' or '.join(known)}, got {value!r}")


def _categories(questions: Sequence[Record] | None) -> dict[str, str]:
    if questions is None:
        return dict.fromkeys(_QUESTIONS, "")
    return {one.id.partition("/")[2]: one.record["category"] for one in problems(questions)}


def _chosen(
    path: Path, what: str, wanted: str | None, names: Sequence[str], found: Sequence[Judgment]
) -> list[Judgment]:
    """The judgments of one model, or of one judge."""
    known = sorted(set(names))
    if not known:
        raise DataError(f"{path}: holds no judgments")
    if wanted is None and len(known) > 1:
        raise DataError(f"{path}: has judgments of {len(known)} {what}s; name one of: {', '.join(known)}")
    if wanted is not None and wanted not in known:
        raise DataError(f"{path}: has no judgments of the {what} {wanted!r:.80}; there are: {', '.join(known)}")
    return [one for name, one in zip(names, found, strict=True) if wanted in (None, name)]


def _by_place(
    path: Path, found: Sequence[Judgment], categories: Mapping[str, str], duplicates: str
) -> dict[Place, Judgment]:
    for one in found:
        if one.question not in categories or one.turn not in _TURNS:
            raise DataError(
                f"{path}: question {one.question}, turn {one.turn} is not of this benchmark, which has "
                f"{len(categories)} questions of {len(_TURNS)} turns; give its own questions"
            )
    count = Counter((one.question, one.turn) for one in found)
    twice = [place for place, times in count.items() if times > 1]
    if twice and duplicates == "refuse":
        raise DataError(
            f"{path}: {len(twice)} turns have more than one judgment, first question {twice[0][0]}, turn "
            f"{twice[0][1]}; remove what is old, or take the last of each with duplicates=last"
        )
    return {(one.question, one.turn): one for one in found}


def _rating(judgment: Judgment | None) -> float | None:
    score = None if judgment is None else judgment.score
    return score if score is not None and LOWEST <= score <= HIGHEST else None


def _check_complete(
    path: Path, by_place: Mapping[Place, Judgment], rated: Sequence[Rated], incomplete: str, unreadable: str
) -> None:
    n, lost = sum(one.rating is not None for one in rated), len(rated) - len(by_place)
    bad = len(by_place) - n
    if n and not (lost and incomplete == "refuse") and not (bad and unreadable == "refuse"):
        return
    turns = ", ".join(
        f"turn {turn}: {sum(place[1] == turn for place in by_place)} of {len(rated) // len(_TURNS)}" for turn in _TURNS
    )
    said = f"{path}: {len(by_place)} of {len(rated)} judgments are there ({turns}), {bad} of them unreadable"
    if not n:
        raise DataError(f"{said}; there is nothing to take a mean of")
    choice = "incomplete=allow" if lost and incomplete == "refuse" else "unreadable=count"
    raise DataError(f"{said}; judge the rest, or take the mean of this part with {choice}")


def _result(rated: Sequence[Rated], by_place: Mapping[Place, Judgment], about: Mapping[str, Any]) -> Result:
    whole = mean_of(rated)
    grades = tuple(_grade(one, by_place.get((one.question, one.turn))) for one in rated)
    disagreements = [
        {"question": one.question, "turn": one.turn, "recorded": one.score, "in_text": one.in_text}
        for one in by_place.values()
        if one.disagrees
    ]
    return Result(
        task=TASK.name,
        metric=TASK.metric,
        mean=whole["mean"],
        n=whole["n"],
        n_expected=whole["n_expected"],
        interval=tuple(whole["interval"]) if whole["interval"] else None,
        verdicts=dict(Counter(grade.verdict for grade in grades).most_common()),
        summary={
            "turns": by_turn(rated),
            "categories": by_category(rated),
            "unreadable": sum(grade.verdict == "unreadable" for grade in grades),
            "disagreements": disagreements,
        },
        grades=grades,
        about=about,
    )


def _grade(rated: Rated, judgment: Judgment | None) -> Grade:
    name, parts = f"mt_bench/{rated.question}/{rated.turn}", {"turn": rated.turn, "category": rated.category}
    if judgment is None:
        return Grade(name, None, "missing", parts=parts)
    verdict = "unreadable" if rated.rating is None else "rated"
    return Grade(name, rated.rating, verdict, (judgment.text or "")[-_SHOWN:], parts)
