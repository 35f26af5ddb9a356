"""Bars: the funnel of the rows, the most frequent tags, the reasons of rejections, the two groups of a histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from ..report.figures import Bin, Flow
from ..report.words import count, decimal
from .picture import CHOSEN, LINE, LOST, MUTED, OTHER, SINGLE, Picture, drawn, short

_NAME = 24  # letters beside a bar
_ROW, _EDGES = 0.19, 0.55  # inches


def funnel(flows: Sequence[Flow]) -> Picture:
    """Rows that each step saw: kept, rejected, not chosen."""

    def draw(picture: Picture) -> None:
        axes = _named(picture, [flow.label for flow in flows])
        left = [0] * len(flows)
        for label, colour, hatch, rows in _parts(flows):
            if label == "kept" or any(rows):
                axes.barh(range(len(flows)), rows, 0.72, left=left, color=colour, hatch=hatch, label=label, **_EDGE)
            left = [before + more for before, more in zip(left, rows, strict=True)]
        for place, flow in enumerate(flows):
            _beside(axes, place, left[place], _told(flow))
        axes.set_xlim(0, max(left))
        axes.set_xlabel("rows", loc="right")
        picture.legend(loc="outside upper right", ncols=3, borderaxespad=0.2)

    return drawn(SINGLE, _EDGES + 0.12 + _ROW * len(flows), draw)


_EDGE: dict[str, Any] = {"edgecolor": LINE, "linewidth": 0.3}


def _parts(flows: Sequence[Flow]) -> tuple[tuple[str, str, str | None, list[int]], ...]:
    return (
        ("kept", CHOSEN, None, [flow.rows_out for flow in flows]),
        ("not chosen", OTHER, None, [flow.not_chosen for flow in flows]),
        ("rejected", LOST, "////", [flow.rejected for flow in flows]),
    )


def _told(flow: Flow) -> str:
    lost = f" (−{count(flow.rejected)})" if flow.rejected else ""
    return f"{count(flow.rows_out)}{lost}"


def tags(counted: str, counts: Sequence[tuple[str, int]]) -> Picture:
    """The most frequent labels, or tags."""
    return _counts(counts, CHOSEN, f"times the {counted} was given", None)


def reasons(counts: Sequence[tuple[str, int]]) -> Picture:
    """Rejected rows by reason."""
    return _counts([(name.replace("_", " "), rows) for name, rows in counts], LOST, "rejected rows", "////")


def _counts(counts: Sequence[tuple[str, int]], colour: str, said: str, hatch: str | None) -> Picture:
    def draw(picture: Picture) -> None:
        axes = _named(picture, [name for name, _ in counts])
        numbers = [number for _, number in counts]
        axes.barh(range(len(counts)), numbers, 0.72, color=colour, hatch=hatch, **_EDGE)
        for place, number in enumerate(numbers):
            _beside(axes, place, number, count(number))
        axes.set_xlim(0, max(numbers))
        axes.set_xlabel(said, loc="right")

    return drawn(SINGLE, _EDGES + _ROW * len(counts), draw)


def _named(picture: Picture, names: Sequence[str]) -> Any:
    """Axes with a line for each name, the first on top."""
    axes = picture.add_subplot()
    axes.set_yticks(range(len(names)), [short(name, _NAME) or "–" for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: count(value))
    return axes


def _beside(axes: Any, place: int, end: float, text: str) -> None:
    axes.annotate(
        text, (end, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5, annotation_clip=False
    )


def histogram(bins: Sequence[Bin], said: str) -> Picture:
    """Rows by a number: those that were chosen below, the others upon them."""

    def draw(picture: Picture) -> None:
        axes = picture.add_subplot()
        lows = [one.low for one in bins]
        wide = [(one.high - one.low) or 1.0 for one in bins]
        chosen, other = [one.chosen for one in bins], [one.other for one in bins]
        align: Any = "center" if len(bins) == 1 else "edge"
        axes.bar(lows, chosen, wide, align=align, color=CHOSEN, label="chosen", **_EDGE)
        axes.bar(lows, other, wide, chosen, align=align, color=OTHER, label="not chosen", **_EDGE)
        for rows, colour, dashes in ((chosen, CHOSEN, "-"), (other, MUTED, "--")):
            if (middle := _mean(bins, rows)) is not None:
                axes.axvline(middle, color=colour, linestyle=dashes, linewidth=1)
        if len(bins) == 1:
            axes.set_xticks(lows, [decimal(lows[0])])
            axes.set_xlim(lows[0] - 3, lows[0] + 3)
        axes.set_xlabel(f"{said} (lines: means)")
        axes.set_ylabel("rows")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: count(value))
        picture.legend(loc="outside upper right", ncols=2, borderaxespad=0.2)

    return drawn(SINGLE, 2.2, draw)


def _mean(bins: Sequence[Bin], rows: Sequence[int]) -> float | None:
    """The mean, as far as columns tell it; None without rows."""
    total = sum(rows)
    return sum((one.low + one.high) / 2 * n for one, n in zip(bins, rows, strict=True)) / total if total else None
