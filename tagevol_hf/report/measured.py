"""The measures of a run for the page: a table of figures by group, each figure with its definition."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import SMALL, Curve, curve
from .values import list_of, mapping_of, number_of, read_json, whole_of
from .words import cut, decimal, percent

_NUMBERED = re.compile(r"(budget|round) (\d+)")
_GROWING = ("difficulty", "auto_evol_complexity", "words_mean", "diversity", "obedience", "embedding_spread")
SHARES = ("share", "obedience", "repetition", "contamin")  # names of figures that are shares


@dataclass(frozen=True)
class Figure:
    """One figure: its name, what it means, and its value in each group."""

    name: str
    meaning: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """All figures.

    Attributes:
        growth: Where the groups are numbered, as budgets are: (figure, what numbers the groups, its curve).
    """

    rows: int
    groups: tuple[str, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    growth: tuple[tuple[str, str, Curve], ...]


def read_measures(file: Path) -> Measured | None:
    """Read `measures.json`; None where there is none."""
    body = read_json(file)
    groups = {str(name): mapping_of(values) for name, values in mapping_of(body.get("groups")).items()}
    if not groups:
        return None
    definitions = mapping_of(body.get("definitions"))
    names = dict.fromkeys(str(name) for values in groups.values() for name in values)
    figures = (_figure(name, groups, definitions) for name in names)
    notes = tuple(cut(str(note), 600).head for note in list_of(body.get("notes")))
    return Measured(whole_of(body.get("rows")), tuple(groups), tuple(figures), notes, tuple(_growth(groups)))


def _growth(groups: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Curve]]:
    """Figures of groups such as "budget 1", "budget 3" as curves."""
    numbered = [(found[1], int(found[2]), group) for group in groups if (found := _NUMBERED.fullmatch(group))]
    for name in _GROWING:
        points = [(float(number), value) for _, number, group in sorted(numbered, key=lambda one: one[1])
                  if (value := number_of(groups[group].get(name))) is not None]  # fmt: skip
        if len({value for _, value in points}) > 1 and (drawn := curve(points, *SMALL)):
            yield name.replace("_", " "), numbered[0][0], drawn


def _figure(name: str, groups: Mapping[str, Mapping[str, Any]], definitions: Mapping[str, Any]) -> Figure:
    said = percent if any(part in name for part in SHARES) else decimal
    values = tuple(said(number_of(values.get(name))) for values in groups.values())
    return Figure(name.replace("_", " "), str(definitions.get(name) or ""), values)
