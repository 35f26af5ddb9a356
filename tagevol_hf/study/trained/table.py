"""Trained arms as one table: a line for each arm and budget, a mean and a difference for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .comparing import Trained

_SHARES = ("accuracy", "win_rate")


def trained_lines(trained: Trained) -> list[list[str]]:
    """The table's cells, its head first."""
    tasks = list(dict.fromkeys(str(one["task"]) for one in trained.contrasts))
    against = next((str(one["against"]) for one in trained.contrasts), "")
    lines = [["", "equal", "rows", "tokens", *(head for task in tasks for head in _heads(task, against)), "seeds"]]
    for equal, arm in dict.fromkeys((one["equal"], one["arm"]) for one in trained.trainings):
        group = [one for one in trained.trainings if (one["equal"], one["arm"]) == (equal, arm)]
        done = [one for one in group if one["status"] == "complete"]
        found = {one["task"]: one for one in trained.contrasts if (one["equal"], one["arm"]) == (equal, arm)}
        cells = [cell for task in tasks for cell in _cells(found.get(task))]
        sizes = [_sizes(done, "rows"), _sizes(done, "tokens")]
        lines.append([str(arm), str(equal).replace("_", " "), *sizes, *cells, f"{len(done)} of {len(group)}"])
    return lines


def _heads(task: str, against: str) -> tuple[str, str]:
    return task, f"vs {against}"


def _cells(contrast: Mapping[str, Any] | None) -> tuple[str, str]:
    """Mean and difference, each with its interval."""
    if contrast is None:
        return "–", "–"
    metric = str(contrast["metric"])
    mean = said(metric, contrast["mean"], contrast["interval"])
    if contrast["difference"] is None:
        return mean, "–"
    return mean, said(metric, contrast["difference"], contrast["difference_interval"], "+")


def said(metric: str, value: float, interval: Sequence[float] | None, sign: str = "") -> str:
    """A figure and its interval, shares in percent: "41.2 % [38.0, 44.4]"."""
    share = metric in _SHARES
    factor, digits, unit = (100, 1, " %") if share else (1, 3, "")
    text = f"{value * factor:{sign}.{digits}f}{unit}"
    if interval is None:
        return text
    return f"{text} [{', '.join(f'{end * factor:{sign}.{digits}f}' for end in interval)}]"


def _sizes(done: Sequence[Mapping[str, Any]], name: str) -> str:
    """Of all seeds: "96", or "95–97" where they differ."""
    sizes = sorted({int(one[name]) for one in done})
    return "–".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1]))) if sizes else "–"
