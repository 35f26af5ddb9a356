"""The steps that clean, for the page: questions of benchmarks, and rows that say nearly the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .samples import Rejected
from .values import counts_of, list_of, mapping_of, number_of, read_json, whole_of
from .words import Cut, cut, decimal, without_secrets

_EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """One row that was found: its text, where it was found, and its id."""

    text: Cut
    found: Cut
    id: str


@dataclass(frozen=True)
class Leaks:
    """Rows with questions of benchmarks: (benchmark, rows), those without any as well, and (way, rows)."""

    rows: int
    found: int
    rejected: bool
    benchmarks: tuple[tuple[str, int], ...]
    ways: tuple[tuple[str, int], ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Doubles:
    """Rows that say nearly the same as one that stayed."""

    rows: int
    found: int
    groups: int
    largest: int
    by: str
    threshold: str
    examples: tuple[Example, ...]


def read_leaks(steps: list[Mapping[str, Any]], lost: Mapping[str, tuple[Rejected, ...]], file: Path) -> Leaks | None:
    """What the step `decontaminate` found; None without one.

    Args:
        steps: `steps` of run.json.
        lost: Rejected rows by reason.
        file: The step's report, from which examples come where the rows were only reported.
    """
    summary = _summary(steps, "decontaminate")
    if summary is None:
        return None
    each = mapping_of(summary.get("by_reference"))
    benchmarks = sorted(((str(name), whole_of(rows)) for name, rows in each.items()), key=lambda one: (-one[1], one[0]))
    return Leaks(
        rows=whole_of(summary.get("rows")),
        found=whole_of(summary.get("contaminated")),
        rejected=summary.get("action") != "report",
        benchmarks=tuple(benchmarks),
        ways=counts_of(summary.get("by_how")),
        examples=_examples(lost.get("contaminated", ())) or _reported(file),
    )


def read_doubles(steps: list[Mapping[str, Any]], lost: Mapping[str, tuple[Rejected, ...]]) -> Doubles | None:
    """What the step `near_duplicates` found; None without one."""
    summary = _summary(steps, "near_duplicates")
    if summary is None:
        return None
    threshold = number_of(summary.get("threshold"))
    return Doubles(
        rows=whole_of(summary.get("rows")),
        found=whole_of(summary.get("duplicates")),
        groups=whole_of(summary.get("groups")),
        largest=whole_of(summary.get("largest_group")),
        by=str(summary.get("by") or "")[:80],
        threshold="" if threshold is None else decimal(threshold),
        examples=_examples(lost.get("near_duplicate", ())),
    )


def _summary(steps: list[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((mapping_of(step.get("summary")) for step in steps if step.get("name") == name), None)


def _examples(rows: tuple[Rejected, ...]) -> tuple[Example, ...]:
    return tuple(Example(row.instruction, row.detail, row.id) for row in rows[:_EXAMPLES])


def _reported(file: Path) -> tuple[Example, ...]:
    leaks = [mapping_of(leak) for leak in list_of(read_json(file).get("leaks"))[:_EXAMPLES]]
    return tuple(Example(cut(leak.get("text"), 200, 2000), _place(leak), str(leak.get("id") or "")) for leak in leaks)


def _place(leak: Mapping[str, Any]) -> Cut:
    share = f"{number_of(leak.get('share')) or 0:.2f}"
    told = f"{leak.get('reference')} row {leak.get('number')}: {leak.get('how')}, share {share}: {leak.get('words')}"
    return cut(without_secrets(told), 240, 2000)
