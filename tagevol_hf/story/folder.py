"""Rows by their id, wherever in a run folder they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset

from ..report.columns import tables
from ..report.samples import open_rows
from ..run_folder import read_run

Row = Mapping[str, Any]
PILES = ("selected", "not_chosen", "rejected")
_NEAREST, _SOME, _MOST_IDS = 5, 3, 50_000  # ids told, likewise; ids compared letter by letter


@dataclass(frozen=True)
class Saved:
    """The rows that a step left."""

    number: int
    name: str
    rows: Dataset


class Folder:
    """A run folder, finished or not; what cannot be read counts as missing.

    Args:
        path: The folder.

    Raises:
        DataError: If it is not a run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = read_run(path)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.record.get("status") == "complete")

    @cached_property
    def steps(self) -> tuple[Saved, ...]:
        """What each step left, in order; a fold leaves no rows."""
        folders = (self.path / "steps").glob("[0-9]*-*")
        places = sorted((int(folder.name.split("-")[0]), folder) for folder in folders if folder.is_dir())
        opened = ((number, folder, open_rows(folder, [])) for number, folder in places)
        return tuple(Saved(n, folder.name.split("-", 1)[1], rows) for n, folder, rows in opened if rows is not None)

    @cached_property
    def piles(self) -> Mapping[str, Dataset]:
        """The result; those piles that an earlier run left in the folder do not count."""
        opened = ((name, open_rows(self.path / name, [])) for name in PILES if self._is_of_this_run(name))
        return {name: rows for name, rows in opened if rows is not None}

    def pairs(self) -> Iterator[Dataset]:
        """The comparisons, those that gave a score and then those that did not."""
        for name in ("comparisons", "comparisons_rejected"):
            rows = open_rows(self.path / name, [])
            if rows is not None:
                yield rows

    def everything(self) -> Iterator[Dataset]:
        """All data sets of rows, the earliest first."""
        yield from (saved.rows for saved in self.steps)
        yield from self.piles.values()

    def nearest(self, row_id: str) -> list[str]:
        """Ids like one that is not here: those that it begins or is a part of, else those of similar letters."""
        known = {one: None for rows in self.everything() for one in ids_of(rows)}
        holding = [one for one in known if row_id and (row_id in one or one in row_id)]
        alike = get_close_matches(row_id, list(known)[:_MOST_IDS], n=_NEAREST, cutoff=0.5)
        return list(dict.fromkeys([*sorted(holding, key=lambda one: (not one.startswith(row_id), one)), *alike]))[
            :_NEAREST
        ]

    def some_ids(self) -> list[str]:
        """The first ids of the latest rows."""
        latest = [*(saved.rows for saved in self.steps), *self.piles.values()]
        return list(islice((one for rows in reversed(latest) for one in ids_of(rows)), _SOME))

    def _is_of_this_run(self, name: str) -> bool:
        if self.complete:
            return True
        try:
            started = datetime.fromisoformat(str(self.record.get("started"))).timestamp()
            return (self.path / name / "state.json").stat().st_mtime >= started
        except (OSError, ValueError):
            return False


def find(rows: Dataset | None, row_id: str) -> dict[str, Any] | None:
    """The row of an id; None where there is none."""
    return next(all_with(rows, "id", row_id), None)


def all_with(rows: Dataset | None, column: str, value: str) -> Iterator[dict[str, Any]]:
    """The rows that have a value in a column of texts, in order."""
    start = 0
    for table in tables(rows, column):
        cells = table.column(column)
        if pc.any(pc.equal(cells, value)).as_py():
            places = [place for place, cell in enumerate(cells.to_pylist()) if cell == value]
            yield from (_row(rows, start + place) for place in places)
        start += len(table)


def _row(rows: Dataset | None, place: int) -> dict[str, Any]:
    row: dict[str, Any] = rows[place] if rows is not None else {}
    return row


def ids_of(rows: Dataset) -> Iterator[str]:
    """All ids, in order."""
    for table in tables(rows, "id"):
        yield from (one for one in table.column("id").to_pylist() if one is not None)
