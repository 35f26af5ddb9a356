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
    shift = _LABELS + 14 + sum(flow.added for flow in flows) * scale + (22 if any(f.added for f in flows) else 0)
    drawing = _Drawing(scale, wide)
    for number, flow in enumerate(flows):
        x, joined = (number + 0.42) * wide, shift - flow.added * scale
        drawing.band(x, shift, shift + flow.rows_in * scale)
        drawing.join(flow, x, joined)
        drawing.leave(flow, x, shift + flow.rows_in * scale)
        drawing.stops.append(Mark(x, 18, flow.label, count(flow.rows_out)))
        drawing.lines.append((x, 44, joined - 3))
        shift = joined
    last = flows[-1].rows_out
    right = _WIDTH - _RIGHT + 8
    drawing.band(right, shift, shift + last * scale)
    edges = " L".join([*drawing.upper, *reversed(drawing.lower)])
    body = Ribbon(f"M{edges} Z", "kept", f"{count(flows[0].rows_in)} rows in, {count(last)} out")
    return River(
        width=_WIDTH,
        height=drawing.deepest + 16,
        ribbons=(body, *drawing.ribbons),
        stops=tuple(drawing.stops),
        counts=tuple(drawing.counts),
        lines=tuple(drawing.lines),
        end=Mark(right + 10, shift + last * scale / 2, count(last)),
    )


class _Drawing:
    """The parts of a river while it is drawn from left to right; `scale` is the height of a row."""

    def __init__(self, scale: float, wide: float) -> None:
        self.scale, self.wide = scale, wide
        self.upper: list[str] = []
        self.lower: list[str] = []
        self.ribbons: list[Ribbon] = []
        self.counts: list[Mark] = []
        self.stops: list[Mark] = []
        self.lines: list[tuple[float, float, float]] = []
        self.left, self.deepest = 0.0, 0.0

    def band(self, x: float, top: float, bottom: float) -> None:
        """The main band, from where it ended to `x`."""
        self.upper += [f"{self.left:.1f},{top:.1f}", f"{x:.1f},{top:.1f}"]
        self.lower += [f"{self.left:.1f},{bottom:.1f}", f"{x:.1f},{bottom:.1f}"]
        self.left, self.deepest = x, max(self.deepest, bottom)

    def join(self, flow: Flow, x: float, top: float) -> None:
        """Rows that were added come from above."""
        if not flow.added:
            return
        thick, start = flow.added * self.scale, max(top - 22, _LABELS + 4)
        self._ribbon(
            (x - 0.62 * self.wide, start), (x, top), thick, "added", f"{flow.label}: {count(flow.added)} added"
        )
        self.counts.append(Mark(x - 0.66 * self.wide, start + thick / 2 + 4, f"+{count(flow.added)}", "added"))

    def leave(self, flow: Flow, x: float, edge: float) -> None:
        """Rows that are rejected or not chosen fall below."""
        fall = _FALL * (1.5 if flow.not_chosen else 1)
        for kind, rows in (("rejected", flow.rejected), ("not-chosen", flow.not_chosen)):
            if rows:
                thick = rows * self.scale
                edge -= thick
                end = (x + 0.62 * self.wide, edge + fall)
                says = f"{flow.label}: {count(rows)} {kind.replace('-', ' ')}"
                self._ribbon((x, edge), end, thick, kind, says)
                self.counts.append(Mark(end[0] + 4, end[1] + thick / 2 + 4, f"−{count(rows)}", kind))
                self.deepest = max(self.deepest, end[1] + thick)
            fall = _FALL

    def _ribbon(self, start: tuple[float, float], end: tuple[float, float], thick: float, kind: str, says: str) -> None:
        (x0, y0), (x1, y1) = start, end
        thick = max(thick, 1.5)
        middle = (x0 + x1) / 2
        path = (
            f"M{x0:.1f},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f} "
            f"L{x1:.1f},{y1 + thick:.1f} "
            f"C{middle:.1f},{y1 + thick:.1f} {middle:.1f},{y0 + thick:.1f} {x0:.1f},{y0 + thick:.1f} Z"
        )
        self.ribbons.append(Ribbon(path, kind, says))


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
SMALL = (340.0, 190.0)  # width and height of a curve beside others


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
