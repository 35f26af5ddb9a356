"""Selections of one pool side by side."""

import random

import pytest
from baseline_pools import Chart, build, shuffled

from tagevol_hf.errors import DataError
from tagevol_hf.measure.selections import SelectionTable, compare_selections, length_matched
from tagevol_hf.rows import rejection


def pool():
    """Six rows with six labels in three clusters, one response longer than the other."""
    return build(
        6,
        response=["x", "xx yy", "xxx", "xxxx", "xxxxx", "天気 ok"],
        labels=[["a", "b"], ["a"], ["c"], ["d", "e", "f"], [], ["a"]],
        cluster=[0, 0, 1, 1, 2, 2],
        clusters=[[0, 1], [0], [1], None, [], [2]],
    )


def compass():
    """Instructions in the four directions, so that their distances are known."""
    points = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (1.0, 0.0), (1.0, 0.0)]
    return Chart({f"ask r{place}": point for place, point in enumerate(points)})


def test_figures_are_what_they_are_said_to_be():
    rows = pool()
    table = compare_selections(rows, {"first": rows.select([0, 1]), "last": rows.select([3, 5])}, embedder=compass())
    assert list(table.figures) == ["pool", "first", "last"]
    assert table.figures["first"] == {
        "n": 2,
        "label_coverage": pytest.approx(2 / 6, abs=1e-6),
        "cluster_coverage": pytest.approx(2 / 3, abs=1e-6),
        "characters_mean": 3,
        "characters_median": 3,
        "words_mean": 1.5,
        "words_median": 1.5,
        "diversity": 1,
        "spread": 1,
        "difficulty": 1.5,
    }
    last = table.figures["last"]
    assert (last["label_coverage"], last["difficulty"], last["diversity"]) == (pytest.approx(4 / 6, abs=1e-6), 2, 2)
    assert (last["cluster_coverage"], last["words_mean"]) == (pytest.approx(2 / 3, abs=1e-6), 2)
    assert table.figures["pool"]["label_coverage"] == table.figures["pool"]["cluster_coverage"] == 1
    assert set(table.figures["first"]) <= set(table.definitions)
    assert "chart" in table.definitions["spread"]
    assert table.notes == ()


def test_overlap_is_the_share_of_the_rows_that_the_other_has():
    rows = pool()
    table = compare_selections(rows, {"a": rows.select([0, 1, 2, 3]), "b": rows.select([3, 4])})
    assert table.overlap == {"a": {"b": 0.25}, "b": {"a": 0.5}}
    assert table.notes == (
        "The selections are not of one size (a 4, b 2): coverage grows with it, so do not compare theirs.",
    )


def test_several_draws_give_mean_and_deviation():
    rows = pool()
    draws = [rows.select([0, 1]), rows.select([1, 2]), rows.select([2, 3])]
    table = compare_selections(rows, {"random": draws, "longest": rows.select([4, 3])})
    assert table.draws == {"random": 3, "longest": 1}
    assert table.figures["random"]["characters_mean"] == pytest.approx((3 + 4 + 3.5) / 3, abs=1e-6)
    assert table.deviations["random"]["characters_mean"] == pytest.approx(0.5)
    assert "longest" not in table.deviations
    assert table.overlap["random"] == {
        "random": pytest.approx(2 / 6, abs=1e-6),
        "longest": pytest.approx(1 / 6, abs=1e-6),
    }
    assert "3.5 ± 0.5" in table.text()


def test_rewritten_rows_keep_their_labels_and_give_their_own_length():
    rows = pool()
    refined = build(1, response=["a much longer response"])
    table = compare_selections(rows, {"selected": rows.select([0]), "refined": refined})
    assert table.figures["refined"]["difficulty"] == 2
    assert table.figures["refined"]["characters_mean"] == 22
    assert "spread" not in table.figures["refined"]


def test_without_labels_and_clusters_the_rest_is_measured():
    rows = pool().remove_columns(["labels", "cluster", "clusters"])
    table = compare_selections(rows, {"all": rows, "none": rows.select([])})
    assert set(table.figures["all"]) == {
        "n",
        "characters_mean",
        "characters_median",
        "words_mean",
        "words_median",
        "spread",
    }
    assert table.figures["none"] == {"n": 0}
    assert [note.split(" are ")[0].split(" is ")[0] for note in table.notes[:2]] == [
        "Label coverage, diversity and difficulty",
        "Cluster coverage",
    ]
    assert "-" in table.text()


def test_a_table_is_saved_loaded_and_shown(tmp_path):
    rows = pool()
    table = compare_selections(rows, {"a": rows.select([0, 1]), "long name": rows.select([1, 2])}, equal_tokens=True)
    table.save(tmp_path / "selections.json")
    assert SelectionTable.load(tmp_path / "selections.json") == table
    lines = table.text().splitlines()
    assert lines[0].startswith("selection")
    assert len({len(line) for line in lines[:4]}) == 1
    assert any(line.startswith("overlap") for line in lines)
    assert lines[-1] == table.notes[-1]
    (tmp_path / "other.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="selections of format 9, expected 1; compare them again"):
        SelectionTable.load(tmp_path / "other.json")
    (tmp_path / "broken.json").write_text('{"format": 1}')
    with pytest.raises(DataError, match="not a file of compared selections"):
        SelectionTable.load(tmp_path / "broken.json")


def test_what_is_wrong_is_said():
    rows = pool()
    with pytest.raises(DataError, match="expected at least one selection"):
        compare_selections(rows, {})
    with pytest.raises(DataError, match="'x' has the row 'r9', which is not in the pool"):
        compare_selections(rows, {"x": build(ids=["r9"])})
    with pytest.raises(DataError, match="'x' has 2 rows but 1 different ids"):
        compare_selections(rows, {"x": rows.select([0, 0])})
    with pytest.raises(DataError, match="x needs the column response; it has: id"):
        compare_selections(rows, {"x": rows.remove_columns(["response"])})
    with pytest.raises(DataError, match="pool needs the column instruction"):
        compare_selections(rows.remove_columns(["instruction"]), {"x": rows})


def test_rejected_rows_of_the_pool_do_not_count():
    rows = build(3, labels=[["a"], ["b"], ["c"]], rejection=[None, None, rejection("x", "no_tags")])
    table = compare_selections(rows, {"x": rows.select([0])})
    assert table.figures["x"]["label_coverage"] == 0.5
    assert len(length_matched(rows, rows)) == 2


# Equal lengths


def lengths(rows):
    return sorted(len(text) for text in rows["response"])


def long_pool(count=2000):
    dice = random.Random(0)
    return build(count, response=["x" * int(dice.lognormvariate(5, 1)) for _ in range(count)])


def test_the_control_has_the_lengths_of_the_chosen_and_other_rows():
    rows = long_pool()
    longer = rows.select(sorted(range(len(rows)), key=lambda place: -len(rows[place]["response"]))[200:400:2])
    control = length_matched(rows, longer, seed=1)
    assert len(control) == len(longer)
    for own, other in zip(lengths(control), lengths(longer), strict=True):
        assert other / 1.1 <= own <= other * 1.1
    shared = set(control["id"]) & set(longer["id"])
    assert 0.25 < len(shared) / len(longer) < 0.75
    assert set(length_matched(shuffled(rows, 1), shuffled(longer, 2), seed=1)["id"]) == set(control["id"])
    assert set(length_matched(rows, longer, seed=2)["id"]) != set(control["id"])


def test_lengths_that_the_pool_lacks_are_made_up_by_the_nearest():
    rows = build(4, response=["x", "x" * 50, "x" * 100, "x" * 400])
    strange = build(3, ids=["a", "b", "c"], response=["y" * 300, "y" * 90, None])
    assert lengths(length_matched(rows, strange)) == [1, 100, 400]
    many = build(6, ids=list("abcdef"), response=["y"] * 6)
    assert len(length_matched(rows, many)) == 4


def test_equal_tokens_adds_a_control_for_each_selection():
    rows = long_pool(300)
    table = compare_selections(rows, {"some": rows.select(range(0, 60, 2))}, equal_tokens=True)
    assert list(table.figures) == ["pool", "some", "some, same lengths"]
    assert table.draws["some, same lengths"] == 3
    assert table.figures["some, same lengths"]["characters_mean"] == pytest.approx(
        table.figures["some"]["characters_mean"], rel=0.05
    )
    assert 0 < table.overlap["some"]["some, same lengths"] < 1
