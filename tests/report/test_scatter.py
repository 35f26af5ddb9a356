"""The geometry of the cluster map."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tagevol_hf.report.cluster_map import ClusterMap, Point
from tagevol_hf.report.scatter import HEIGHT, WIDTH, Scatter, scatter


def point(number: int, cluster: int = 0, x: float = 0.5, y: float = 0.5, chosen: bool = False) -> Point:
    return Point(f"row-{number}", x, y, cluster, chosen, 5.3, f"Text {number}")


def drawn(points: list[Point], names: dict[int, str] | None = None, rows: int = 0) -> Scatter:
    found = scatter(ClusterMap(tuple(points), names or {}, rows or len(points), "t-SNE"))
    assert found is not None
    return found


def test_nothing_to_draw() -> None:
    assert scatter(None) is None
    assert scatter(ClusterMap((), {}, 0, "")) is None


def test_chosen_rows_lie_on_top_and_large_clusters_come_first() -> None:
    found = drawn([point(0, 3, chosen=True), point(1, 3), point(2, 1), point(3, 1), point(4, 1, chosen=True)])
    assert [(group.cluster, group.chosen) for group in found.groups] == [(1, False), (3, False), (1, True), (3, True)]
    told = [(entry.cluster, entry.name, entry.told) for entry in found.clusters]
    assert told == [
        (1, "cluster 1", "3 points of the map, 1 chosen"),
        (3, "cluster 3", "2 points of the map, 1 chosen"),
    ]
    assert (found.has("3"), found.has("2")) == (True, False)
    assert found.groups[0].dots[0].facts == "not chosen, score 5.30"
    assert found.groups[2].dots[0].facts == "chosen, score 5.30"
    unscored = drawn([replace(point(0), score=None)]).groups[0].dots[0]
    assert unscored.facts == "not chosen"


def test_up_in_the_map_is_up_on_the_page_and_nothing_lies_outside() -> None:
    corners = [point(0, x=0, y=0), point(1, x=1, y=1), point(2, x=-3, y=7)]
    low, high, odd = drawn(corners).groups[0].dots
    assert (low.x, high.y) == (14.0, 14.0)
    assert (high.x, low.y) == (WIDTH - 14, HEIGHT - 14)
    assert (odd.x, odd.y) == (14.0, 14.0)


def test_the_summary_says_how_many_of_how_many() -> None:
    assert drawn([point(0, chosen=True)]).summary.startswith("Map of 1 row in 1 cluster, 1 of them chosen.")
    assert drawn([point(0), point(1, 1)], rows=52_002).summary.startswith("Map of 2 of 52,002 rows in 2 clusters, 0 of")


def test_a_name_on_the_name_of_a_larger_cluster_is_left_out() -> None:
    points = [point(0, 0), point(1, 0), point(2, 1, x=0.52), point(3, 2, y=0.1)]
    found = drawn(points, {0: "large", 1: "small", 2: "apart"})
    assert [mark.text for mark in found.labels["wide"]] == ["large", "apart"]
    assert [mark.kind for mark in found.labels["narrow"]] == ["0", "2"]


@pytest.mark.parametrize("kind", ["wide", "narrow"])
@pytest.mark.parametrize("x", [0.0, 1.0])
def test_names_stay_inside_and_long_ones_are_cut(kind: str, x: float) -> None:
    found = drawn([point(0, x=x, y=x)], {0: "one, two, three and four, " * 9})
    mark = found.labels[kind][0]
    assert mark.text == "one, two, three and four, one…"
    assert 100 < mark.x < WIDTH - 100
    assert 10 < mark.y < HEIGHT - 5


def test_a_text_holds_no_line_of_its_own_before_the_rows_text() -> None:
    hostile = replace(point(0), id="a\nb\nc" * 40)
    dot = drawn([hostile]).groups[0].dots[0]
    assert "\n" not in dot.id
    assert len(dot.id) <= 60
