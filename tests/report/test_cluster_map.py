"""The map of the clusters as the page and the figures read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk
from demo_run import build_demo_run, write

from tagevol_hf.report.cluster_map import ClusterMap, cluster_map


def write_map(folder: Path, points: list[Any] | None = None, **more: Any) -> None:
    """Places for all rows of the run, the rejected ones too."""
    if points is None:
        parts = [load_from_disk(str(folder / name)) for name in ("selected", "not_chosen", "rejected")]
        ids = sorted(row_id for part in parts for row_id in part["id"])
        points = [[row_id, place / len(ids), 0.25, place % 8] for place, row_id in enumerate(ids)]
    body = {"format": 1, "rows": 1000, "how": "t-SNE of the label vectors", "points": points, **more}
    write(folder / "cluster_map.json", body)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_demo_run(tmp_path_factory.mktemp("map") / "run")
    write_map(folder)
    return folder


@pytest.fixture
def folder(demo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo, tmp_path / "run"))


def read(folder: Path, **more: int) -> ClusterMap:
    found = cluster_map(folder, **more)
    assert found is not None
    return found


def test_every_row_that_the_run_still_has_is_on_the_map(folder: Path) -> None:
    found = read(folder)
    chosen, other = (load_from_disk(str(folder / name)) for name in ("selected", "not_chosen"))
    assert {point.id for point in found.points if point.chosen} == set(chosen["id"])
    assert {point.id for point in found.points if not point.chosen} == set(other["id"])
    scores = dict(zip(chosen["id"], chosen["score"], strict=True))
    assert all(point.score == scores[point.id] for point in found.points if point.chosen)
    assert all(point.text and len(point.text) <= 140 for point in found.points)
    assert any(point.text.endswith("…") for point in found.points)
    assert (found.rows, found.how, found.names[0]) == (
        1000,
        "t-SNE of the label vectors",
        "travel time, unit conversion",
    )


def test_of_a_bigger_map_the_beginning_is_taken(folder: Path) -> None:
    assert read(folder, most=5).points == read(folder).points[:5]
    assert set(read(folder, most=1).names) == {read(folder).points[0].cluster}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"points": 3}', '{"points": [["x", 0.1, 0.2, 0]]}', "\x00\xff"]
)
def test_a_file_that_is_bad_or_about_other_rows_is_no_map(folder: Path, text: str) -> None:
    (folder / "cluster_map.json").write_text(text, encoding="latin-1")
    assert cluster_map(folder) is None


def test_a_file_cut_off_while_being_written_is_no_map(folder: Path) -> None:
    file = folder / "cluster_map.json"
    file.write_bytes(file.read_bytes()[:-40])
    assert cluster_map(folder) is None


def test_no_map_without_its_file_or_without_rows(folder: Path, tmp_path: Path) -> None:
    assert cluster_map(tmp_path / "nothing") is None
    for name in ("selected", "not_chosen"):
        shutil.rmtree(folder / name)
    assert cluster_map(folder) is None


def test_unsound_points_are_left_out(folder: Path) -> None:
    sound = read(folder).points[0].id
    others = [row_id for row_id in load_from_disk(str(folder / "selected"))["id"] if row_id != sound][:9]
    bad = [[0.5, 0.5], [0.5, None, 1], [1.5, 0.5, 0], [0.5, -0.1, 0], ["x", 0.5, 0], [True, 0.5, 0], [1, 1, 1, 1]]
    points = [[row_id, *rest] for row_id, rest in zip(others, bad, strict=False)]
    write_map(folder, [None, 3, "text", {}, [], [7, 0.5, 0.5, 0], *points, [sound, 0.5, 1, 9]])
    found = read(folder)
    assert [(point.id, point.x, point.y, point.cluster) for point in found.points] == [(sound, 0.5, 1, 9)]
    assert dict(found.names) == {9: "cluster 9"}


def test_names_may_be_missing_or_odd(folder: Path) -> None:
    write(folder / "clusters.json", {"names": ["<b>one</b>", [], None, [1, 2, 3, 4], "n" * 10_000]})
    names = read(folder).names
    assert [names[number] for number in (0, 1, 2, 3, 5)] == [
        "<b>one</b>",
        "cluster 1",
        "cluster 2",
        "1, 2, 3",
        "cluster 5",
    ]
    assert len(names[4]) < 200
    (folder / "clusters.json").write_text("{", encoding="utf-8")
    assert read(folder).names[3] == "cluster 3"


def test_a_row_without_a_score_has_none(folder: Path) -> None:
    for name in ("selected", "not_chosen"):
        dataset = load_from_disk(str(folder / name)).remove_columns("score")
        dataset.save_to_disk(folder / f"{name}.new")
        shutil.rmtree(folder / name)
        (folder / f"{name}.new").rename(folder / name)
    assert {point.score for point in read(folder).points} == {None}


def test_whole_numbers_and_json_of_other_writers_are_read(folder: Path) -> None:
    row_id = read(folder).points[0].id
    (folder / "cluster_map.json").write_text(json.dumps({"points": [[row_id, 0, 1, 2.0]]}), encoding="utf-8")
    found = read(folder)
    assert (found.rows, found.how, found.points[0].cluster) == (1, "", 2)
