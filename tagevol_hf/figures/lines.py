"""Curves and points: what grows with the budget, the judge's faults, the loss of trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from ..report.words import count, decimal
from .data import Budgets, Curve
from .judged import Judged
from .picture import CHOSEN, COLOURS, DOUBLE, LINE, MARKERS, MUTED, OTHER, SINGLE, Picture, drawn, short

_PANELS = 3


def budgets(found: Budgets) -> Picture:
    """Rows by budget, and beside it each figure that was measured by budget."""
    curves = list(found.figures.items())[: _PANELS - 1]

    def draw(picture: Picture) -> None:
        panels = picture.subplots(1, 1 + len(curves), squeeze=False)[0]
        _chosen_rows(panels[0], found)
        for number, (axes, (name, points)) in enumerate(zip(panels[1:], curves, strict=True)):
            axes.plot(*zip(*points, strict=True), color=COLOURS[number], marker=MARKERS[number], markersize=4)
            axes.set_ylabel(short(name, 40))
            axes.set_xticks(*_spread([x for x, _ in points], [count(x) for x, _ in points]))
            axes.margins(x=0.1)
            axes.set_ylim(0, 1.12 * max(1e-9, *(value for _, value in points)))
            for x, y in points if len(points) <= 5 else ():
                axes.annotate(decimal(y), (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=6.5)
        for axes in panels:
            axes.set_xlabel("budget (tags woven in)" if found.kind == "budget" else "round")

    return drawn(SINGLE if len(curves) == 0 else DOUBLE, 2.1, draw)


def _chosen_rows(axes: Any, found: Budgets) -> None:
    """Bars of all rows of each budget, and of the chosen ones."""
    places = range(len(found.rows))
    chosen = [taken for _, taken in found.rows.values()]
    other = [every - taken for every, taken in found.rows.values()]
    axes.bar(places, chosen, 0.7, color=CHOSEN, edgecolor=LINE, linewidth=0.3, label="chosen")
    axes.bar(places, other, 0.7, chosen, color=OTHER, edgecolor=LINE, linewidth=0.3, label="not chosen")
    axes.set_xticks(*_spread(places, list(map(str, found.rows))))
    axes.set_ylabel("rows")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: count(value))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)


def _spread(places: Sequence[float], names: Sequence[str]) -> tuple[list[float], list[str]]:
    """A dozen of the ticks at most."""
    every = -(-len(names) // 12) or 1
    return list(places[::every]), list(names[::every])


def judge(found: Sequence[Judged]) -> Picture:
    """Each figure on its own scale of equal length; a tick where a judge without the fault would be."""

    def draw(picture: Picture) -> None:
        axes = picture.add_subplot()
        for place, one in enumerate(found):
            _judged(axes, place, one)
        axes.set_yticks(range(len(found)), [one.name for one in found])
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["lowest", "middle", "highest"])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("each on its own scale; tick: no such fault", loc="right")

    return drawn(SINGLE, 0.62 + 0.24 * len(found), draw)


def _judged(axes: Any, place: int, one: Judged) -> None:
    def at(value: float) -> float:
        return (value - one.low) / (one.high - one.low)

    axes.plot([0, 1], [place, place], color=OTHER, linewidth=3, zorder=1, solid_capstyle="butt")
    if one.without is not None:
        axes.plot(
            [at(one.without)] * 2, [place - 0.3, place + 0.3], color=MUTED, linewidth=1.4, zorder=2, clip_on=False
        )
    if one.interval:
        axes.plot([at(end) for end in one.interval], [place, place], color=LINE, linewidth=1.2, zorder=3)
    axes.plot([at(one.value)], [place], "o", color=CHOSEN, markersize=4.5, zorder=4, clip_on=False)
    n = f" (n = {count(one.n)})" if one.n else ""
    axes.annotate(
        f"{one.value:+.2f}{n}".replace("-", "−") if one.low < 0 else f"{one.value:.2f}{n}",
        (1, place),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=6.5,
        annotation_clip=False,
    )


def loss(curves: Mapping[str, Curve]) -> Picture:
    """Loss by step; held-out ones dashed."""

    def draw(picture: Picture) -> None:
        axes = picture.add_subplot()
        for number, (name, points) in enumerate(curves.items()):
            held = name.endswith("held out")
            axes.plot(
                *zip(*points, strict=True),
                color=COLOURS[number % len(COLOURS)],
                linestyle="--" if held else "-",
                marker=MARKERS[number % len(MARKERS)],
                markersize=3,
                markevery=max(1, len(points) // 8),
                label=_ended(name),
            )
        axes.set_xlabel("step of the optimiser")
        axes.set_ylabel("loss (nats a learned token)")
        axes.xaxis.set_major_formatter(lambda value, _: count(value))
        axes.legend(loc="upper right")

    return drawn(SINGLE, 2.3, draw)


def _ended(name: str) -> str:
    """The name of a curve, the model's part cut."""
    model, _, kind = name.rpartition(", ")
    return f"{short(model, 28)}, {kind}"
