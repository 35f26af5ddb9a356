"""Geometry of line charts with one line an arm, and of bars with one bar an arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..figures import Mark, nice_ticks
from ..words import decimal

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line: its name, the number of its colour, its path, its points with their values in words."""

    name: str
    colour: int
    path: str
    dots: tuple[Mark, ...]


@dataclass(frozen=True)
class LineChart:
    """Lines in a box of `width` x `height`; the y axis has 0 on it.

    Attributes:
        labelled: Whether each point carries its value.
    """

    figure: str
    meaning: str
    x_name: str
    width: float
    height: float
    lines: tuple[Line, ...]
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    labelled: bool


@dataclass(frozen=True)
class ArmBar:
    """One arm's bar; `share` is of the longest one, in [0, 1]."""

    name: str
    text: str
    share: float


@dataclass(frozen=True)
class BarChart:
    """One bar an arm."""

    figure: str
    meaning: str
    bars: tuple[ArmBar, ...]


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480.0, 250.0, 52.0, 462.0, 22.0, 46.0
_MOST_TICKS, _COLOURS, _LABELLED = 10, 6, 8


def line_chart(
    figure: str, meaning: str, x_name: str, series: Mapping[str, Points], said: Callable[[float], str]
) -> LineChart | None:
    """Draw (x, y) points with ascending x, one line a name; None where no line has two points."""
    kept = {name: points for name, points in series.items() if len(points) > 1}
    if not kept:
        return None
    xs = sorted({x for points in kept.values() for x, _ in points})
    ys = [y for points in kept.values() for _, y in points]
    y_ticks = nice_ticks(min(0.0, *ys), max(0.0, *ys))
    floor, low, high = _HEIGHT - _BOTTOM, y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - xs[0]) / (xs[-1] - xs[0]) * (_RIGHT - _LEFT)
        return across, floor - (y - low) / (high - low) * (floor - _TOP)

    lines = (
        _line(name, number, [place(x, y) for x, y in points], [said(y) for _, y in points])
        for number, (name, points) in enumerate(kept.items())
    )
    every = -(-len(xs) // _MOST_TICKS)
    return LineChart(
        figure,
        meaning,
        x_name,
        _WIDTH,
        _HEIGHT,
        tuple(lines),
        tuple(Mark(place(x, low)[0], floor, decimal(x)) for x in xs[::every]),
        tuple(Mark(_LEFT, place(xs[0], y)[1], said(y)) for y in y_ticks),
        len(kept) == 1 and len(xs) <= _LABELLED,
    )


def _line(name: str, number: int, places: Sequence[tuple[float, float]], texts: Sequence[str]) -> Line:
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = (Mark(x, y, text) for (x, y), text in zip(places, texts, strict=True))
    return Line(name, number % _COLOURS, path, tuple(dots))


def bar_chart(
    figure: str, meaning: str, values: Mapping[str, float | None], said: Callable[[float], str]
) -> BarChart | None:
    """One bar an arm in the order of the arms; None where no arm has the figure."""
    longest = max((abs(value) for value in values.values() if value is not None), default=None)
    if longest is None:
        return None
    bars = (
        ArmBar(name, "–" if value is None else said(value), abs(value or 0.0) / (longest or 1.0))
        for name, value in values.items()
    )
    return BarChart(figure, meaning, tuple(bars))
