"""The trained arms on a study's page: one table, and one plot of differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..figures import Mark, nice_ticks
from ..values import list_of, number_of, whole_of
from ..words import SPACE, cut, without_secrets
from .tables import Table

Entries = Sequence[Mapping[str, Any]]

_SHARES = ("accuracy", "win_rate")
_LEFT, _RIGHT, _TEXT, _WIDTH = 170.0, 520.0, 536.0, 760.0
_TITLE, _ROW, _AXIS, _GAP = 30.0, 26.0, 26.0, 18.0


@dataclass(frozen=True)
class Whisker:
    """An arm's difference: a point between the ends of its interval, with the value in words."""

    name: str
    low: float
    point: float
    high: float
    y: float
    text: str


@dataclass(frozen=True)
class Panel:
    """One task at one budget: its own scale, and where its 0 is."""

    title: str
    y: float
    zero: float
    top: float
    bottom: float
    whiskers: tuple[Whisker, ...]
    ticks: tuple[Mark, ...]


@dataclass(frozen=True)
class Forest:
    """All panels, one below the other."""

    width: float
    height: float
    text_x: float
    against: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class TrainedPart:
    """What the page shows of the trainings.

    Attributes:
        faults: Trainings and evaluations without a result: (what, why).
    """

    table: Table
    forest: Forest | None
    against: str
    faults: tuple[tuple[str, str], ...]


def trained_of(body: Mapping[str, Any]) -> TrainedPart | None:
    """The part of a page about trained arms; None where none was trained."""
    trainings, evaluations, contrasts = (_entries(body, name) for name in ("trainings", "evaluations", "contrasts"))
    if not trainings:
        return None
    against = next((_text(one, "against") for one in contrasts), "")
    failed = [one for one in (*trainings, *evaluations) if one.get("status") == "failed"]
    faults = tuple((_place(one), cut(without_secrets(one.get("message")), 600, 600).head) for one in failed)
    return TrainedPart(_table(trainings, contrasts, against), _forest(contrasts, against), against, faults)


def _entries(body: Mapping[str, Any], name: str) -> Entries:
    return [one for one in list_of(body.get(name)) if isinstance(one, Mapping)]


def _text(entry: Mapping[str, Any], name: str) -> str:
    return cut(without_secrets(entry.get(name)), 100, 100).head


def _place(entry: Mapping[str, Any]) -> str:
    """Which training or evaluation it is."""
    parts = [_text(entry, "task"), _text(entry, "arm"), _equal(entry), f"seed {whole_of(entry.get('seed'))}"]
    return ", ".join(part for part in parts if part)


def _equal(entry: Mapping[str, Any]) -> str:
    return _text(entry, "equal").replace("_", " ")


def _table(trainings: Entries, contrasts: Entries, against: str) -> Table:
    """A line for each arm and budget; for each task its mean and its difference."""
    tasks = list(dict.fromkeys(_text(one, "task") for one in contrasts))
    columns = [("Equal", "What all arms have in common."), ("Rows", "That a training saw in one pass.")]
    columns.append(("Learned tokens", "In one pass over these rows."))
    for task in tasks:
        columns += [(task, "Mean over problems and seeds, with its 95 % interval."),
                    (f"vs {against}", "Difference on the same problems, with its 95 % interval.")]  # fmt: skip
    columns += [("Problems", "That all arms have a score for, by task."), ("Seeds", "Trainings that ended.")]
    rows = []
    for arm, equal in dict.fromkeys((_text(one, "arm"), _equal(one)) for one in trainings):
        group = [one for one in trainings if (_text(one, "arm"), _equal(one)) == (arm, equal)]
        done = [one for one in group if one.get("status") == "complete"]
        found = {_text(one, "task"): one for one in contrasts if (_text(one, "arm"), _equal(one)) == (arm, equal)}
        cells = [cell for task in tasks for cell in _cells(found.get(task, {}))]
        numbers = ", ".join(f"{whole_of(found[task].get('n')):,}" for task in tasks if task in found) or "–"
        sizes = (_sizes(done, "rows"), _sizes(done, "tokens"))
        rows.append((arm, (equal, *sizes, *cells, numbers, f"{len(done)} of {len(group)}"), ""))
    return Table(tuple(columns), tuple(rows))


def _cells(contrast: Mapping[str, Any]) -> tuple[str, str]:
    metric = _text(contrast, "metric")
    mean = _said(metric, contrast.get("mean"), contrast.get("interval"))
    return mean, _said(metric, contrast.get("difference"), contrast.get("difference_interval"), "+")


def _said(metric: str, value: Any, interval: Any, sign: str = "") -> str:
    number, ends = number_of(value), _ends(interval)
    if number is None:
        return "–"
    factor, digits, unit = (100, 1, f"{SPACE}%") if metric in _SHARES else (1, 3, "")
    text = f"{number * factor:{sign}.{digits}f}{unit}"
    if ends:
        text += f" [{f',{SPACE}'.join(f'{end * factor:{sign}.{digits}f}' for end in ends)}]"
    return text.replace("-", "−")


def _ends(interval: Any) -> tuple[float, float] | None:
    values = [number_of(value) for value in list_of(interval)]
    if len(values) != 2 or values[0] is None or values[1] is None:
        return None
    return values[0], values[1]


def _sizes(done: Entries, name: str) -> str:
    """Of all seeds: "96", or "95–97" where they differ."""
    sizes = sorted({whole_of(one.get(name)) for one in done})
    return "–".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else "–"


def _forest(contrasts: Entries, against: str) -> Forest | None:
    """A panel for each task and budget; None where there is no difference to draw."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in contrasts:
        if number_of(one.get("difference")) is not None and _ends(one.get("difference_interval")):
            groups.setdefault((_text(one, "task"), _equal(one)), []).append(one)
    panels, top = [], 0.0
    for (task, equal), found in groups.items():
        better = "left is better" if found[0].get("better") == "lower" else "right is better"
        title = f"{task}, {equal if equal == 'as selected' else f'equal {equal}'} ({better})"
        panels.append(_panel(title, found, top))
        top = panels[-1].bottom + _AXIS + _GAP
    return Forest(_WIDTH, top - _GAP, _TEXT, against, tuple(panels)) if panels else None


def _panel(title: str, found: Entries, top: float) -> Panel:
    ends = [end for one in found for end in _ends(one.get("difference_interval")) or ()]
    ticks = nice_ticks(min(0.0, *ends), max(0.0, *ends))
    low, high = ticks[0], ticks[-1]
    first, bottom = top + _TITLE, top + _TITLE + _ROW * len(found)

    def place(value: float) -> float:
        return _LEFT + (value - low) / ((high - low) or 1.0) * (_RIGHT - _LEFT)

    whiskers = tuple(_whisker(one, first + _ROW * (n + 0.5), place) for n, one in enumerate(found))
    share = _text(found[0], "metric") in _SHARES
    marks = (Mark(place(tick), bottom + 16, _tick(tick, share)) for tick in ticks)
    return Panel(title, top + 18, place(0.0), first, bottom, whiskers, tuple(marks))


def _whisker(one: Mapping[str, Any], y: float, place: Any) -> Whisker:
    low, high = _ends(one.get("difference_interval")) or (0.0, 0.0)
    difference = number_of(one.get("difference")) or 0.0
    text = _said(_text(one, "metric"), difference, [low, high], "+")
    return Whisker(cut(_text(one, "arm"), 20, 20).head, place(low), place(difference), place(high), y, text)


def _tick(value: float, share: bool) -> str:
    text = f"{value * 100:+.3g}" if share else f"{value:+.3g}"
    return "0" if value == 0 else text.replace("-", "−")
