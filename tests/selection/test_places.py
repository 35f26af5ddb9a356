"""Places of rows in the plane."""

import json

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REJECTION, rejection
from tagevol_hf.selection.places import place_rows
from tagevol_hf.tags.embed import NgramEmbedder

FEATURES = Features(
    {"id": Value("string"), "labels": List(Value("string")), "cluster": Value("int64"), "rejection": REJECTION}
)


class Angles:
    """Each label is a direction in the plane, in degrees."""

    identity = "angles"

    def encode(self, texts):
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(-1, 2)


def labelled(*rows, lost=()):
    """Rows (labels, cluster) named r0, r1, …"""
    marks = [rejection("x", "timeout") if place in lost else None for place in range(len(rows))]
    columns = {"id": [f"r{place}" for place in range(len(rows))], "rejection": marks}
    columns |= {"labels": [labels for labels, _ in rows], "cluster": [cluster for _, cluster in rows]}
    return Dataset.from_dict(columns, features=FEATURES)


def groups(count):
    """Rows of three topics that share words inside a topic."""
    topics = ("sorting lists", "baking bread", "roman history")
    return labelled(*[([f"{topics[n % 3]} {n}", topics[n % 3]], n % 3) for n in range(count)])


def spots(places):
    return {row_id: (x, y) for row_id, x, y, _ in places.points}


def distance(found, one, other):
    return float(np.hypot(*np.subtract(found[one], found[other])))


COUNTS = [12, pytest.param(120, marks=pytest.mark.slow)]  # by main components, by t-SNE


@pytest.mark.parametrize("count", COUNTS)
def test_rows_of_one_topic_lie_nearer_to_each_other_than_to_others(count):
    found = place_rows(groups(count), NgramEmbedder())
    assert found.how.startswith("the two main" if count == 12 else "t-SNE")
    at = spots(found)
    inside = [distance(at, f"r{n}", f"r{n + 3}") for n in range(count - 3)]
    across = [distance(at, f"r{n}", f"r{n + 1}") for n in range(count - 3)]
    assert np.mean(inside) < 0.5 * np.mean(across)
    assert all(0 <= value <= 1 for spot in at.values() for value in spot)


@pytest.mark.parametrize("count", COUNTS)
def test_neither_order_nor_repetition_changes_a_place(count):
    rows = groups(count)
    found = place_rows(rows, NgramEmbedder(), seed=3)
    assert place_rows(rows.select(range(count - 1, -1, -1)), NgramEmbedder(), seed=3) == found
    assert place_rows(rows, NgramEmbedder(), seed=4) != found


def test_rows_of_equal_labels_can_be_told_apart_and_stay_together():
    rows = labelled(*[(["0"], 0)] * 40, (["90"], 1), (["180"], 2))
    at = spots(place_rows(rows, Angles()))
    assert len(set(at.values())) == 42
    assert max(distance(at, "r0", f"r{n}") for n in range(40)) < 0.06
    assert distance(at, "r0", "r41") > 0.5


def test_of_many_rows_a_lot_is_drawn_with_one_of_each_cluster_and_each_beginning_is_one_too():
    rows = labelled(*[([str(n % 7)], 0) for n in range(300)], *[([str(n)], n) for n in range(1, 9)])
    found = place_rows(rows, Angles(), most=20)
    assert (found.rows, len(found.points)) == (308, 20)
    assert {cluster for *_, cluster in found.points} == set(range(9))
    assert {cluster for *_, cluster in found.points[:9]} == set(range(9))
    fewer = place_rows(rows, Angles(), most=4)
    assert [point[0] for point in fewer.points] == [point[0] for point in found.points[:4]]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(["0"], 0)],
        [([], 0), ([], 0)],
        [(["0"], 0), (["90"], 1)],
        [(["0", "180"], 0), ([], 1), (["0"], 0)],
        [([str(n / 100)], 0) for n in range(60)],
    ],
)
def test_few_rows_rows_without_labels_and_rows_that_hardly_differ_have_places_too(rows):
    found = place_rows(labelled(*rows), Angles())
    assert len(found.points) == found.rows == len(rows)
    assert all(0 <= x <= 1 and 0 <= y <= 1 for _, x, y, _ in found.points)


def test_rejected_rows_have_no_place():
    found = place_rows(labelled((["0"], 0), (["90"], 0), (["180"], 1), lost=(1,)), Angles())
    assert {row_id for row_id, *_ in found.points} == {"r0", "r2"}
    assert found.rows == 2


@pytest.mark.parametrize("column", ["id", "labels", "cluster"])
def test_a_missing_column_is_named(column):
    with pytest.raises(DataError, match=column):
        place_rows(labelled((["0"], 0)).remove_columns(column), Angles())


def test_the_file_is_written_whole(tmp_path):
    found = place_rows(labelled((["0"], 0), (["90"], 5)), Angles())
    found.save(tmp_path / "cluster_map.json")
    body = json.loads((tmp_path / "cluster_map.json").read_text(encoding="utf-8"))
    assert body == {"format": 1, "rows": 2, "how": found.how, "points": [list(point) for point in found.points]}
    assert [file.name for file in tmp_path.iterdir()] == ["cluster_map.json"]
