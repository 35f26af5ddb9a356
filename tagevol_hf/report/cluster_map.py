"""The map of the clusters: the places of rows in the plane, joined with what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from .columns import tables
from .samples import open_rows
from .values import list_of, number_of, read_json, whole_of
from .words import cut, printable

_TEXT, _NAME = 140, 80  # characters


@dataclass(frozen=True)
class Point:
    """One row on the map.

    Attributes:
        id: Of the row.
        x: From 0 to 1, left to right.
        y: From 0 to 1, bottom to top.
        cluster: Number of its home cluster.
        chosen: Whether it is in the curated set.
        score: What its comparisons gave, or None.
        text: The instruction in one line, cut at 140 characters.
    """

    id: str
    x: float
    y: float
    cluster: int
    chosen: bool
    score: float | None
    text: str


@dataclass(frozen=True)
class ClusterMap:
    """The rows on the map.

    Attributes:
        points: In an order of which every beginning is a fair sample.
        names: Number of a cluster → its name, for the clusters that have a point.
        rows: Rows that were clustered; the map may hold fewer.
        how: How the places were found, in a few words.
    """

    points: tuple[Point, ...]
    names: Mapping[int, str]
    rows: int
    how: str


def cluster_map(folder: Path, most: int = 3000) -> ClusterMap | None:
    """Read the map of a run folder.

    Args:
        folder: The run folder.
        most: Points at most, >= 1; of a bigger map the first ones, among which each cluster has one where possible.

    Returns:
        None where no row of a map, if there is one, is among the curated ones or those that were not chosen.
    """
    body = read_json(folder / "cluster_map.json")
    places = {str(row_id): place for row_id, *place in _places(body.get("points"))}
    facts = _facts(folder, places) if places else {}
    points = tuple(
        Point(row_id, x, y, int(cluster), *facts[row_id])
        for row_id, (x, y, cluster) in places.items()
        if row_id in facts
    )[:most]
    if not points:
        return None
    names = _names(folder / "clusters.json")
    occupied = sorted({point.cluster for point in points})
    named = {number: names.get(number, f"cluster {number}") for number in occupied}
    return ClusterMap(points, named, max(whole_of(body.get("rows")), len(points)), cut(body.get("how"), 200, 200).head)


def _places(given: Any) -> Iterator[tuple[Any, float, float, float]]:
    """(id, x, y, cluster) of each point that is sound."""
    for entry in list_of(given):
        row_id, *numbers = [*list_of(entry), None]
        sound = [number for value in numbers if (number := number_of(value)) is not None]
        if isinstance(row_id, str) and len(sound) == 3 and 0 <= sound[0] <= 1 and 0 <= sound[1] <= 1:
            yield row_id, sound[0], sound[1], sound[2]


def _facts(folder: Path, wanted: Mapping[str, Any]) -> dict[str, tuple[bool, float | None, str]]:
    """Whether it was chosen, the score and the text of each wanted row that the run still has."""
    found: dict[str, tuple[bool, float | None, str]] = {}
    for name in ("not_chosen", "selected"):
        for row_id, text, score in _rows(open_rows(folder / name, [])):
            if row_id in wanted:
                found[row_id] = (name == "selected", number_of(score), _line(text))
    return found


def _rows(dataset: Dataset | None) -> Iterator[tuple[Any, ...]]:
    names = ["id", "instruction"]
    if dataset and "score" in dataset.column_names:
        names.append("score")
    for table in tables(dataset, *names):
        columns = [table.column(name).to_pylist() for name in names]
        yield from zip(*columns, *([[None] * len(columns[0])] * (3 - len(names))), strict=True)


def _line(text: Any) -> str:
    line = " ".join(printable(str(text or ""))[:2000].split())
    return line if len(line) <= _TEXT else line[: _TEXT - 1].rstrip() + "…"


def _names(file: Path) -> dict[int, str]:
    names = enumerate(list_of(read_json(file).get("names")))
    return {number: cut(_name(name), _NAME, _NAME).head or f"cluster {number}" for number, name in names}


def _name(name: Any) -> str:
    return ", ".join(map(str, name[:3])) if isinstance(name, list) else str(name or "")
