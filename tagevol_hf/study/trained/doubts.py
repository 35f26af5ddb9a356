"""What should be equal in the trainings and evaluations of a study's arms and is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_APART = 0.02  # share by which learned tokens may differ and still be called equal
_FEW_SEEDS, _FEW_PROBLEMS = 3, 30

Entry = Mapping[str, Any]


def doubts_of_trained(
    trainings: Sequence[Entry], evaluations: Sequence[Entry], contrasts: Sequence[Entry], against: str | None
) -> Iterator[str]:
    """What makes the trained arms hard to compare, one line each; all as in compare.json."""
    for one in trainings:
        if one["status"] == "failed":
            yield f"Training of {_name(one)} failed: {one['message']}"
    for one in evaluations:
        if one["status"] == "failed":
            yield f"{one['task']} of {_name(one)} has no result: {one['message']}"
        elif one["n"] != one["n_expected"]:
            yield f"{one['task']} of {_name(one)} is incomplete: {one['n']} of {one['n_expected']} have a score."
    done = [one for one in trainings if one["status"] == "complete"]
    for equal in dict.fromkeys(one["equal"] for one in done):
        yield from _sizes(equal, [one for one in done if one["equal"] == equal])
    yield from _contrasts(contrasts, evaluations, against)
    seeds = len({one["seed"] for one in trainings})
    if contrasts and seeds < _FEW_SEEDS:
        much = "is not in the intervals" if seeds == 1 else "is understated by the intervals"
        yield f"Trained with {seeds} seed{'s' if seeds > 1 else ''}: how much trainings of the same arm differ {much}."


def _sizes(equal: str, done: Sequence[Entry]) -> Iterator[str]:
    """Arms that were not trained on the same amount."""
    measured = "rows" if equal == "rows" else "tokens"
    sizes = {_name(one): one[measured] for one in done}
    low, high = min(sizes.values()), max(sizes.values())
    allowed = 0.0 if equal == "rows" else _APART
    if high > low * (1 + allowed):
        what = "learned tokens" if measured == "tokens" else "rows"
        least, most = (min(sizes, key=lambda name: sizes[name]), max(sizes, key=lambda name: sizes[name]))
        title = "As selected, the arms" if equal == "as_selected" else f"With equal {equal}, the arms"
        yield f"{title} were trained on {low:,} ({least}) to {high:,} ({most}) {what}."


def _contrasts(contrasts: Sequence[Entry], evaluations: Sequence[Entry], against: str | None) -> Iterator[str]:
    expected: dict[tuple[str, str], int] = {}
    for one in evaluations:
        if one["status"] == "complete":
            key = one["task"], one["equal"]
            expected[key] = max(expected.get(key, 0), one["n_expected"])
    groups: dict[tuple[str, str], list[Entry]] = {}
    for one in contrasts:
        groups.setdefault((one["task"], one["equal"]), []).append(one)
    for (task, equal), found in groups.items():
        for doubt in _group(found, expected.get((task, equal), 0), against):
            yield f"{task}, {_title(equal)}: {doubt}"
    for task, equal in expected:
        if (task, equal) not in groups:
            yield f"{task}, {_title(equal)}: no problem has a score of all arms: nothing can be compared."


def _group(found: Sequence[Entry], expected: int, against: str | None) -> Iterator[str]:
    """Of one task and one budget."""
    number = found[0]["n"]
    if number < expected:
        yield f"the arms are compared on the {number} of {expected} problems that all have a score for."
    if number < _FEW_PROBLEMS:
        yield f"only {number} problems: the intervals are rough."
    if len({len(one["seeds"]) for one in found}) > 1:
        yield (
            "the arms have different numbers of seeds: "
            + "; ".join(f"{one['arm']}: {len(one['seeds'])}" for one in found)
            + "."
        )
    if against is not None and against not in {one["arm"] for one in found}:
        yield f"{against}, which the arms are compared with, has no result: there are no differences."
    for one in found:
        if one["interval"] and one["interval"][0] == one["interval"][1]:
            yield f"{one['arm']} has the same score in all {number} problems; its interval says nothing."


def _name(one: Entry) -> str:
    return f"{one['arm']} ({_title(one['equal'])}, seed {one['seed']})"


def _title(equal: str) -> str:
    return "as selected" if equal == "as_selected" else f"equal {equal}"
