"""The map of the clusters: each row a point, chosen ones filled, the clusters' names beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import dist
from statistics import median
from typing import Any

from matplotlib.lines import Line2D

from ..report.cluster_map import ClusterMap, Point
from ..report.words import plural
from .picture import COLOURS, DOUBLE, LINE, MARKERS, Picture, drawn, short

_NAMED, _NAME = 16, 46  # clusters beside the map; characters of a name


def clusters(found: ClusterMap) -> Picture:
    """Draw the map; the biggest clusters have their names, each number stands in the middle of its cluster."""
    sizes = Counter(point.cluster for point in found.points)
    ranked = sorted(sizes, key=lambda number: (-sizes[number], number))
    looks = {number: (COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, number in enumerate(ranked)}

    def draw(picture: Picture) -> None:
        axes, beside = picture.subplots(1, 2, width_ratios=[1.15, 1])
        for number in ranked:
            _points(axes, [point for point in found.points if point.cluster == number], *looks[number])
        for number, place in _middles(found.points, ranked):
            axes.annotate(str(number), place, ha="center", va="center", fontsize=6.5, zorder=5, bbox=_BOX)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set(visible=True, linewidth=0.4)
        axes.set_xlabel(f"{plural(len(found.points), 'row')} of {found.rows:,}; {short(found.how, 60)}")
        beside.axis("off")
        beside.legend(
            handles=[*_kinds(found), *(_entry(found, number, *looks[number]) for number in ranked[:_NAMED])],
            title=f"the {_NAMED} biggest of {plural(len(ranked), 'cluster')}" if len(ranked) > _NAMED else None,
            loc="center left",
            bbox_to_anchor=(-0.06, 0.5),
            handletextpad=0.3,
            labelspacing=0.45,
            fontsize=6.5,
            title_fontsize=6.5,
            alignment="left",
        )

    return drawn(DOUBLE, 3.6, draw)


def _points(axes: Any, points: list[Point], colour: str, marker: str) -> None:
    """The others small and hollow, the chosen ones filled and on top."""
    size = 9 if len(points) > 300 else 14
    for chosen in (False, True):
        places = [(point.x, point.y) for point in points if point.chosen is chosen]
        if places:
            face, edge, wide = (colour, "white", 0.25) if chosen else ("none", colour, 0.5)
            axes.scatter(
                *zip(*places, strict=True),
                size if chosen else 0.6 * size,
                marker=marker,
                facecolors=face,
                edgecolors=edge,
                linewidths=wide,
                alpha=1 if chosen else 0.55,
                zorder=2 + chosen,
            )


_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": LINE, "linewidth": 0.3, "alpha": 0.85}
_APART = 0.045  # of two numbers


def _middles(points: Sequence[Point], ranked: Sequence[int]) -> Iterator[tuple[int, tuple[float, float]]]:
    """Each cluster with that point of it which is nearest to its middle and not under another's number."""
    taken: list[tuple[float, float]] = []
    for number in ranked:
        own = [(point.x, point.y) for point in points if point.cluster == number]
        middle = median(x for x, _ in own), median(y for _, y in own)
        near = sorted(own, key=lambda place: dist(place, middle))
        free = (place for place in near if all(dist(place, other) > _APART for other in taken))
        taken.append(next(free, near[0]))
        yield number, taken[-1]


def _kinds(found: ClusterMap) -> list[Line2D]:
    chosen = sum(point.chosen for point in found.points)
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3.5, "markeredgecolor": LINE}
    return [
        Line2D([], [], **look, markerfacecolor=LINE, label=f"chosen ({chosen:,})"),
        Line2D([], [], **look, markerfacecolor="none", label=f"not chosen ({len(found.points) - chosen:,})"),
    ]


def _entry(found: ClusterMap, number: int, colour: str, marker: str) -> Line2D:
    inside = [point.chosen for point in found.points if point.cluster == number]
    name = short(found.names.get(number, f"cluster {number}"), _NAME)
    label = f"{number}  {name} ({sum(inside):,} of {len(inside):,})"
    return Line2D([], [], linestyle="", marker=marker, markersize=4, color=colour, markeredgewidth=0, label=label)
