"""The geometry of the figures."""

from __future__ import annotations

import re

import pytest

from tagevol_hf.report.figures import Flow, curve, histogram, nice_ticks, river

FLOWS = [
    Flow("Load", 64, 0, 0, 2, 62),
    Flow("Tag-Evol", 62, 124, 0, 6, 180),
    Flow("Select", 180, 0, 132, 0, 48),
]


def test_the_river_has_a_ribbon_for_all_that_joins_or_leaves() -> None:
    drawn = river(FLOWS)
    assert drawn is not None
    assert [ribbon.kind for ribbon in drawn.ribbons] == ["kept", "rejected", "added", "rejected", "not-chosen"]
    assert [mark.text for mark in drawn.counts] == ["−2", "+124", "−6", "−132"]
    assert drawn.end.text == "48"


def test_everything_in_the_river_lies_inside_its_frame() -> None:
    drawn = river(FLOWS)
    assert drawn is not None
    for ribbon in drawn.ribbons:
        for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", ribbon.path):
            assert 0 <= float(x) <= drawn.width
            assert 44 <= float(y) <= drawn.height


@pytest.mark.parametrize("flows", [[], FLOWS[:1], [Flow("Load", 0, 0, 0, 0, 0)] * 3])
def test_no_river_without_water(flows: list[Flow]) -> None:
    assert river(flows) is None


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(2.1, 3.4, [2, 2.5, 3, 3.5]), (0, 1, [0, 0.25, 0.5, 0.75, 1]), (5, 120, [0, 50, 100, 150]), (3, 3, [3, 4])],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


def test_a_curve_keeps_its_ends_and_stays_small() -> None:
    drawn = curve([(step, 9.0 - step / 10_000) for step in range(50_000)])
    assert drawn is not None
    assert (drawn.first.text, drawn.last.text) == ("9", "4.00")
    assert len(drawn.line) < 12_000


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_no_curve_of_one_point(points: list[tuple[float, float]]) -> None:
    assert curve(points) is None


def test_a_histogram_counts_every_value_once() -> None:
    bins = histogram([1.0, 2.0, 10.0], [0.0, 5.0])
    assert sum(part.chosen for part in bins) == 3
    assert sum(part.other for part in bins) == 2
    assert (bins[0].low, bins[-1].high) == (0, 10)
    assert histogram([], []) == []
    assert histogram([4.0], [4.0])[0].both == 2
