"""Figures of several selections as a value that can be saved, and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import DataError

_FORMAT = 1

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "n": "Rows.",
        "label_coverage": "Share of the pool's labels that some row has.",
        "cluster_coverage": "Share of the pool's clusters that some row is in.",
        "characters_mean": "Mean length of a response, in characters.",
        "characters_median": "Median length of a response, in characters.",
        "words_mean": "Mean length of a response (words between blanks, each Han or Kana character a word).",
        "words_median": "Median length of a response, in words.",
        "diversity": "Different labels of all rows together, divided by the number of rows.",
        "spread": "",  # with the embedder's name, see `spread.definition`
        "difficulty": "Mean number of labels of a row.",
    }
)

Figures = Mapping[str, float]


@dataclass(frozen=True)
class SelectionTable:
    """Figures of several selections of one pool.

    Attributes:
        figures: Selection → figure → value, the mean over its draws; one that cannot be computed is absent.
        deviations: Selection → figure → standard deviation over its draws; empty where there is but one.
        draws: Selection → number of its draws.
        overlap: Selection → other selection → share of its rows that the other has, too (by id; mean over draws). With
            itself: between its different draws; absent for a single draw.
        definitions: Figure → what it is.
        notes: What a reader must know besides.
    """

    figures: Mapping[str, Figures]
    deviations: Mapping[str, Figures]
    draws: Mapping[str, int]
    overlap: Mapping[str, Figures]
    definitions: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The same as plain values of JSON."""
        nested = {name: getattr(self, name) for name in ("figures", "deviations", "overlap")}
        return {
            **{name: {key: dict(value) for key, value in part.items()} for name, part in nested.items()},
            "draws": dict(self.draws),
            "definitions": dict(self.definitions),
            "notes": list(self.notes),
        }

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        text = json.dumps({"format": _FORMAT, **self.plain()}, ensure_ascii=False, indent=1)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> SelectionTable:
        """Read what `save` wrote.

        Raises:
            DataError: If the file cannot be read or holds no such table.
        """
        try:
            body: Any = json.loads(Path(path).read_text(encoding="utf-8"))
            if body["format"] != _FORMAT:
                raise DataError(
                    f"{path}: selections of format {body['format']}, expected {_FORMAT}; compare them again"
                )
            parts = [dict(body[name]) for name in ("figures", "deviations", "draws", "overlap", "definitions")]
            figures, deviations, draws, overlap, definitions = parts
            return cls(figures, deviations, draws, overlap, definitions, tuple(body["notes"]))
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DataError(f"{path}: not a file of compared selections ({fault!r})") from None

    def text(self) -> str:
        """Two tables of fixed width, figures and overlap, a row for each selection; then the notes."""
        names = list(self.figures)
        shown = [figure for figure in DEFINITIONS if any(figure in found for found in self.figures.values())]
        figures = [["selection", *shown], *([name, *(self._cell(name, figure) for figure in shown)] for name in names)]
        others = list(self.overlap)
        shares = [["overlap", *others]]
        shares += [[name, *(_percent(self.overlap[name].get(other)) for other in others)] for name in others]
        return "\n".join([_aligned(figures), "", _aligned(shares), *([""] if self.notes else []), *self.notes])

    def _cell(self, name: str, figure: str) -> str:
        value = self.figures[name].get(figure)
        if value is None:
            return "-"
        deviation = self.deviations.get(name, {}).get(figure)
        shown = f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
        return f"{shown} ± {deviation:.2g}" if deviation else shown


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first to the left and the others to the right."""
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = []
    for first, *others in cells:
        padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]).rstrip())
    return "\n".join(lines)
