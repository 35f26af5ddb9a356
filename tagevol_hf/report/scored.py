"""What models reached in benchmarks, from the results that `tagevol eval` and trainings leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import list_of, mapping_of, number_of, read_json, whole_of
from .words import cut, decimal, percent

_SHARES = ("accuracy", "win_rate")
_MOST = 60  # lines of the table
_FIGURES = 6  # further ones a line


@dataclass(frozen=True)
class Scored:
    """One model in one task.

    Attributes:
        model: Name of its folder.
        mean: In words; "–" where nothing was graded.
        interval: Of the mean, in words; empty where there is none.
        bar: (left, width) of the interval, and the place of the mean, as shares of a scale from 0 to 1; None for
            figures on another scale.
        n: Problems with a score.
        missing: Problems that were to be graded and have none.
        further: Other figures of the task: name, value.
    """

    model: str
    task: str
    metric: str
    mean: str
    interval: str
    bar: tuple[float, float, float] | None
    n: int
    missing: int
    further: tuple[tuple[str, str], ...]


def read_scored(run_folder: Path) -> tuple[Scored, ...]:
    """All results of a run folder's models, by task; a file that is no result is left out."""
    files = [*run_folder.glob("evals/*.json"), *run_folder.glob("*/evals/*.json")]
    found = [_scored(file, body) for file in sorted(files) if "task" in (body := read_json(file)) and "mean" in body]
    return tuple(sorted(found, key=lambda one: (one.task, one.model))[:_MOST])


def _scored(file: Path, body: Mapping[str, Any]) -> Scored:
    metric = str(body.get("metric") or "mean")
    share = metric in _SHARES
    say = percent if share else decimal
    mean, ends = number_of(body.get("mean")), [number_of(end) for end in list_of(body.get("interval"))]
    low, high = (ends[0], ends[1]) if len(ends) == 2 else (None, None)
    n = whole_of(body.get("n"))
    return Scored(
        model=file.parents[1].name,
        task=_plain(body["task"]),
        metric=_plain(metric),
        mean=say(mean),
        interval="" if mean is None or low is None or high is None else f"{say(low)} to {say(high)}",
        bar=None if not share or mean is None or low is None or high is None else (low, high - low, mean),
        n=n,
        missing=max(0, whole_of(body.get("n_expected")) - n),
        further=tuple(_further(mapping_of(body.get("summary")))),
    )


def _further(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Figures of a task beside its mean; shares as such."""
    figures = [(name, number_of(value)) for name, value in summary.items() if not isinstance(value, bool)]
    return [
        (_plain(name), percent(value) if any(part in name for part in _SHARES) else decimal(value))
        for name, value in figures
        if value is not None
    ][:_FIGURES]


def _plain(name: Any) -> str:
    return cut(str(name).replace("_", " "), 80).head
