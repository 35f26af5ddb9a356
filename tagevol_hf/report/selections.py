"""What other ways would have selected, for the page: figures and shared rows of each selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import list_of, mapping_of, number_of, read_json, whole_of
from .words import cut, decimal, percent

_SHARES = ("coverage",)  # in the names of figures that are shares


@dataclass(frozen=True)
class Compared:
    """One figure or one selection: its name, what it means, and its values, one for each selection."""

    name: str
    meaning: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Selections:
    """The table; `names` are the columns of the figures, `others` those of the shared rows."""

    names: tuple[str, ...]
    figures: tuple[Compared, ...]
    others: tuple[str, ...]
    overlap: tuple[Compared, ...]
    notes: tuple[str, ...]


def read_selections(file: Path) -> Selections | None:
    """Read `selections.json`; None where there is none."""
    body = read_json(file)
    figures = {str(name): mapping_of(values) for name, values in mapping_of(body.get("figures")).items()}
    if not figures:
        return None
    spread = {str(name): mapping_of(values) for name, values in mapping_of(body.get("deviations")).items()}
    draws = mapping_of(body.get("draws"))
    overlap = {str(name): mapping_of(values) for name, values in mapping_of(body.get("overlap")).items()}
    meanings = mapping_of(body.get("definitions"))
    known = dict.fromkeys(str(name) for values in figures.values() for name in values)
    titles = tuple(f"{name} ({draws[name]} draws)" if whole_of(draws.get(name)) > 1 else name for name in figures)
    return Selections(
        titles,
        tuple(
            Compared(
                figure.replace("_", " "),
                str(meanings.get(figure) or ""),
                tuple(_value(figure, figures[name], spread.get(name, {})) for name in figures),
            )
            for figure in known
        ),
        tuple(overlap),
        tuple(
            Compared(name, "", tuple(percent(number_of(shares.get(other))) for other in overlap))
            for name, shares in overlap.items()
        ),
        tuple(cut(str(note), 600).head for note in list_of(body.get("notes"))),
    )


def _value(figure: str, found: Mapping[str, Any], spread: Mapping[str, Any]) -> str:
    """A figure, with its standard deviation where there were several draws."""
    said = percent if any(part in figure for part in _SHARES) else decimal
    value, deviation = number_of(found.get(figure)), number_of(spread.get(figure))
    return said(value) if not deviation else f"{said(value)} ± {said(deviation)}"
