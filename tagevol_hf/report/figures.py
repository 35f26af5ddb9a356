"""Geometry of the figures: from counts and curves to SVG paths; the template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from .words import count, decimal


@dataclass(frozen=True)
class Flow:
    """What one step does to the number of rows."""

    label: str
    rows_in: int
    added: int
    not_chosen: int
    rejected: int
    rows_out: int

    @property
    def through(self) -> int:
        """Rows that this step saw."""
        return self.rows_in + self.added


@dataclass(frozen=True)
class Ribbon:
    """A closed SVG path of one kind ("kept", "added", "not-chosen", "rejected"), with its text."""

    path: str
    kind: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A text at a place."""

    x: float
    y: float
    text: str
    kind: str = ""


@dataclass(frozen=True)
class River:
    """All rows of a run, from left to right: what joins comes from above, what leaves falls below."""

    width: float
    height: float
    ribbons: tuple[Ribbon, ...]
    stops: tuple[Mark, ...]
    counts: tuple[Mark, ...]
    lines: tuple[tuple[float, float, float], ...]
    end: Mark


_WIDTH, _RIGHT, _TALLEST, _LABELS, _FALL = 1040.0, 104.0, 150.0, 52.0, 34.0


def river(flows: Sequence[Flow]) -> River | None:
    """Draw the flow of rows through the steps; None where there is nothing to draw."""
    most = max((flow.through for flow in flows), default=0)
    if not most or len(flows) < 2:
        return None
    scale, wide = _TALLEST / most, (_WIDTH - _RIGHT) / len(flows)
    tops = _tops(flows, scale)
    shift = _LABELS + 14 - min(tops) + (22 if any(flow.added for flow in flows) else 0)
    upper: list[str] = []
    lower: list[str] = []
    ribbons: list[Ribbon] = []
    counts: list[Mark] = []
    stops: list[Mark] = []
    lines: list[tuple[float, float, float]] = []
    left, deepest = 0.0, 0.0
    for number, (flow, top) in enumerate(zip(flows, tops, strict=True)):
        x = (number + 0.42) * wide
        y = top + shift
        joined = y - flow.added * scale
        bottom = y + flow.rows_in * scale
        upper += [f"{left:.1f},{y:.1f}", f"{x:.1f},{y:.1f}"]
        lower += [f"{left:.1f},{bottom:.1f}", f"{x:.1f},{bottom:.1f}"]
        if flow.added:
            start = max(joined - 22, _LABELS + 4)
            ribbons.append(_ribbon((x - 0.62 * wide, start), (x, joined), flow.added * scale, "added", flow))
            counts.append(Mark(x - 0.66 * wide, start + flow.added * scale / 2 + 4, f"+{count(flow.added)}", "added"))
        edge = bottom
        for kind, rows in (("rejected", flow.rejected), ("not-chosen", flow.not_chosen)):
            if rows:
                thick = rows * scale
                fall = _FALL + (_FALL / 2 if kind == "rejected" and flow.not_chosen else 0)
                to = (x + 0.62 * wide, edge - thick + fall)
                ribbons.append(_ribbon((x, edge - thick), to, thick, kind, flow))
                counts.append(Mark(to[0] + 4, to[1] + thick / 2 + 4, f"−{count(rows)}", kind))
                edge -= thick
                deepest = max(deepest, to[1] + thick)
        stops.append(Mark(x, 18, flow.label, count(flow.rows_out)))
        lines.append((x, 44, min(joined, y) - 3))
        left, deepest = x, max(deepest, bottom)
    last = flows[-1]
    y = tops[-1] + shift - last.added * scale
    low = y + last.rows_out * scale
    right = _WIDTH - _RIGHT + 8
    upper += [f"{left:.1f},{y:.1f}", f"{right:.1f},{y:.1f}"]
    lower += [f"{left:.1f},{low:.1f}", f"{right:.1f},{low:.1f}"]
    band = "M" + " L".join(upper) + " L" + " L".join(reversed(lower)) + " Z"
    end = Mark(right + 10, (y + low) / 2, count(last.rows_out))
    body = Ribbon(band, "kept", f"{count(flows[0].rows_in)} rows in, {count(last.rows_out)} out")
    return River(_WIDTH, deepest + 16, (body, *ribbons), tuple(stops), tuple(counts), tuple(lines), end)


def _tops(flows: Sequence[Flow], scale: float) -> list[float]:
    """Upper edge of the band before each step; it rises by what was added before."""
    tops, top = [], 0.0
    for flow in flows:
        tops.append(top)
        top -= flow.added * scale
    return tops


def _ribbon(start: tuple[float, float], end: tuple[float, float], thick: float, kind: str, flow: Flow) -> Ribbon:
    (x0, y0), (x1, y1) = start, end
    thick = max(thick, 1.5)
    middle = (x0 + x1) / 2
    path = (
        f"M{x0:.1f},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f} "
        f"L{x1:.1f},{y1 + thick:.1f} "
        f"C{middle:.1f},{y1 + thick:.1f} {middle:.1f},{y0 + thick:.1f} {x0:.1f},{y0 + thick:.1f} Z"
    )
    rows = {"added": flow.added, "rejected": flow.rejected, "not-chosen": flow.not_chosen}[kind]
    return Ribbon(path, kind, f"{flow.label}: {count(rows)} {kind.replace('-', ' ')}")


@dataclass(frozen=True)
class Curve:
    """A line in a box of `width` x `height`, with ticks on both axes."""

    width: float
    height: float
    line: str
    area: str
    first: Mark
    last: Mark
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]


_LEFT, _TOP, _BOTTOM, _MOST_POINTS = 44.0, 18.0, 30.0, 600


def curve(points: Sequence[tuple[float, float]], width: float = 640, height: float = 260) -> Curve | None:
    """Draw (x, y) points with ascending x; None for fewer than two."""
    if len(points) < 2 or points[0][0] >= points[-1][0]:
        return None
    every = -(-len(points) // _MOST_POINTS)
    kept = [*points[:-1:every], points[-1]]
    ys = [y for _, y in kept]
    y_ticks = nice_ticks(min(ys), max(ys))
    low, high = y_ticks[0], y_ticks[-1]
    x_low, x_high = kept[0][0], kept[-1][0]
    floor_y, right = height - _BOTTOM, width - 56

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (right - _LEFT)
        return across, floor_y - (y - low) / (high - low) * (floor_y - _TOP)

    places = [place(x, y) for x, y in kept]
    line = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in places)
    area = f"{line} L{places[-1][0]:.1f},{floor_y:.1f} L{places[0][0]:.1f},{floor_y:.1f} Z"
    inside = [x for x in nice_ticks(x_low, x_high) if x_low <= x <= x_high]
    return Curve(
        width,
        height,
        line,
        area,
        Mark(*places[0], decimal(kept[0][1])),
        Mark(*places[-1], decimal(kept[-1][1])),
        tuple(Mark(place(x, low)[0], floor_y, count(x)) for x in inside),
        tuple(Mark(_LEFT, place(x_low, y)[1], f"{y:g}") for y in y_ticks),
    )


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers in even steps that enclose low..high: (2.1, 3.4) → 2, 2.5, 3, 3.5."""
    span = (high - low) or abs(high) or 1.0
    rough = span / about
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    last = max(last, first + 1)
    return [round(step * number, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Bin:
    """One column of a histogram: its range, and rows of both groups."""

    low: float
    high: float
    chosen: int
    other: int

    @property
    def both(self) -> int:
        """Rows of both groups."""
        return self.chosen + self.other


def histogram(chosen: Sequence[float], other: Sequence[float], bins: int = 24) -> list[Bin]:
    """Count the values of two groups in the same equal columns; empty where there is no value."""
    both = [*chosen, *other]
    if not both:
        return []
    low, high = min(both), max(both)
    if low == high:
        return [Bin(low, high, len(chosen), len(other))]
    wide = (high - low) / bins
    first, second = ([0] * bins for _ in range(2))
    for values, target in ((chosen, first), (other, second)):
        for value in values:
            target[min(int((value - low) / wide), bins - 1)] += 1
    return [Bin(low + n * wide, low + (n + 1) * wide, first[n], second[n]) for n in range(bins)]
