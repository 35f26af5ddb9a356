"""Geometry of the cluster map: points by cluster, and the names that fit between them; the template draws it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from .cluster_map import ClusterMap, Point
from .figures import Mark
from .words import cut, decimal, plural

WIDTH, HEIGHT, EDGE = 720.0, 560.0, 14.0
_ID, _NAME, _LABEL = 60, 80, 30  # characters
_SIZES = {"wide": 14.0, "narrow": 27.0}  # of the names in units of the map, where the page is wide, and on a phone


@dataclass(frozen=True)
class Dot:
    """One row at its place, with what is told of it."""

    x: float
    y: float
    facts: str
    id: str
    text: str


@dataclass(frozen=True)
class Group:
    """The rows of one cluster, chosen ones or the others."""

    cluster: int
    chosen: bool
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Entry:
    """One cluster of the list, with its points in the map."""

    cluster: int
    name: str
    told: str


@dataclass(frozen=True)
class Scatter:
    """The map: groups in the order of drawing, clusters by size, and by width of the page the names that fit."""

    width: float
    height: float
    groups: tuple[Group, ...]
    clusters: tuple[Entry, ...]
    labels: Mapping[str, tuple[Mark, ...]]
    summary: str
    how: str

    def has(self, cluster: str) -> bool:
        """Whether a cluster, by its number, has a point."""
        return any(str(entry.cluster) == cluster for entry in self.clusters)


def scatter(found: ClusterMap | None) -> Scatter | None:
    """Draw a cluster map; None where there is none."""
    if found is None or not found.points:
        return None
    clusters: dict[int, list[Point]] = defaultdict(list)
    for point in found.points:
        clusters[point.cluster].append(point)
    ranked = sorted(clusters, key=lambda number: (-len(clusters[number]), number))
    names = {number: found.names.get(number) or f"cluster {number}" for number in ranked}
    return Scatter(
        width=WIDTH,
        height=HEIGHT,
        groups=tuple(_groups(ranked, clusters)),
        clusters=tuple(_entry(number, names[number], clusters[number]) for number in ranked),
        labels={kind: tuple(_labels(ranked, names, clusters, size)) for kind, size in _SIZES.items()},
        summary=_summary(found, len(ranked)),
        how=found.how,
    )


def _groups(ranked: list[int], clusters: Mapping[int, list[Point]]) -> Iterable[Group]:
    """The chosen rows last, so that they lie on top."""
    for chosen in (False, True):
        for number in ranked:
            if dots := tuple(_dot(point) for point in clusters[number] if point.chosen is chosen):
                yield Group(number, chosen, dots)


def _dot(point: Point) -> Dot:
    x, y = _place(point)
    score = "" if point.score is None else f", score {decimal(point.score)}"
    return Dot(x, y, ("chosen" if point.chosen else "not chosen") + score, _short(point.id, _ID), point.text)


def _place(point: Point) -> tuple[float, float]:
    share_x, share_y = (min(1.0, max(0.0, value)) for value in (point.x, point.y))
    return EDGE + share_x * (WIDTH - 2 * EDGE), EDGE + (1 - share_y) * (HEIGHT - 2 * EDGE)


def _short(text: str, most: int) -> str:
    """In one line, at most so many characters."""
    line = " ".join(text[: 8 * most].split())
    return line if len(line) <= most else line[: most - 1].rstrip(" ,;") + "…"


def _entry(number: int, name: str, points: list[Point]) -> Entry:
    chosen = sum(point.chosen for point in points)
    told = f"{plural(len(points), 'point')} of the map, {chosen:,} chosen"
    return Entry(number, cut(name, _NAME).head, told)


def _summary(found: ClusterMap, clusters: int) -> str:
    shown, chosen = len(found.points), sum(point.chosen for point in found.points)
    rows = f"{shown:,} of {plural(found.rows, 'row')}" if shown < found.rows else plural(shown, "row")
    told = f"Map of {rows} in {plural(clusters, 'cluster')}, {chosen:,} of them chosen."
    return f"{told} The clusters stand in the list below."


def _labels(
    ranked: list[int], names: Mapping[int, str], clusters: Mapping[int, list[Point]], size: float
) -> Iterable[Mark]:
    """Names at the middle of their clusters, those of large ones first; one that would lie on another is left out."""
    taken: list[tuple[float, float, float, float]] = []
    for number in ranked:
        text = _short(names[number], _LABEL)
        half = min(WIDTH / 2, _width(text, size) / 2 + 4)
        x, y = (median(values) for values in zip(*(_place(point) for point in clusters[number]), strict=True))
        x = min(WIDTH - half, max(half, x))
        y = min(HEIGHT - size / 2, max(size, y))
        box = (x - half, y - size, x + half, y + size / 2)
        if not any(_overlap(box, other) for other in taken):
            taken.append(box)
            yield Mark(x, y, text, str(number))


def _width(text: str, size: float) -> float:
    """About the width of a text; East Asian characters are as wide as high."""
    return sum(size * (1.0 if ord(character) > 0x2E7F else 0.6) for character in text)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
