"""The measures of a run for the page: a table of figures by group, each figure with its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import list_of, mapping_of, number_of, read_json, whole_of
from .words import cut, decimal, percent

SHARES = ("share", "obedience", "repetition", "contamin")  # names of figures that are shares


@dataclass(frozen=True)
class Figure:
    """One figure: its name, what it means, and its value in each group."""

    name: str
    meaning: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """All figures."""

    rows: int
    groups: tuple[str, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]


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
    return Measured(whole_of(body.get("rows")), tuple(groups), tuple(figures), notes)


def _figure(name: str, groups: Mapping[str, Mapping[str, Any]], definitions: Mapping[str, Any]) -> Figure:
    said = percent if any(part in name for part in SHARES) else decimal
    values = tuple(said(number_of(values.get(name))) for values in groups.values())
    return Figure(name.replace("_", " "), str(definitions.get(name) or ""), values)
