"""What the figures show, before anything is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_run import write
from mapped_run import without

from tagevol_hf.errors import DataError
from tagevol_hf.figures import RunFigures, write_figures
from tagevol_hf.figures.data import FIGURES, Source, budgets, judge, loss, tags


def test_a_run_has_every_figure_that_it_has_data_for(folder: Path) -> None:
    assert RunFigures(folder).names() == tuple(FIGURES)
    without(folder, "cluster_map.json", "sft-tiny", "tags.json")
    assert RunFigures(folder).names() == tuple(name for name in FIGURES if name not in ("clusters", "loss"))


def test_without_labels_the_tags_of_the_pool_are_counted(folder: Path) -> None:
    counted, counts = tags(Source(folder)) or ("", [])
    assert (counted, counts[0]) == ("label", ("sorting", 12))
    counted, counts = tags(Source(without(folder, "tags.json"))) or ("", [])
    assert (counted, counts[0], len(counts)) == ("knowledge tag", ("average", 24), 15)


def test_budgets_hold_rows_words_and_what_was_measured(folder: Path) -> None:
    write(folder / "measures.json", {"groups": {"budget 1": {"difficulty": 3.5}, "budget 5": {"difficulty": "bad"}}})
    found = budgets(Source(folder))
    assert found is not None
    assert {number: rows for number, (rows, _) in found.rows.items()} == {1: 62, 3: 62, 5: 61}
    assert sum(chosen for _, chosen in found.rows.values()) == 48
    assert found.figures["tags an instruction"] == [(1.0, 3.5)]
    words = [value for _, value in found.figures["words an instruction"]]
    assert words == sorted(words)
    assert words[0] > 10


def test_shares_of_a_judge_have_an_interval_where_their_count_is_known(folder: Path) -> None:
    found = {one.name: one for one in judge(Source(folder)) or ()}
    flips = found["verdict flips with the order"]
    assert (flips.value, flips.n) == (0.124, 372)
    assert flips.interval == pytest.approx((0.0943, 0.1614), abs=1e-3)  # Wilson, by hand
    first = found["first place wins more often"]
    assert first.interval == pytest.approx((0.013 - 0.0711, 0.013 + 0.0711), abs=1e-3)
    assert found["longer response wins"].interval is None


def test_loss_curves_are_read_in_both_forms(folder: Path) -> None:
    write(
        folder / "other" / "train.json", {"loss_history": [[2, 1.5], [1, 2.5], [3, None], "x"], "held_out_history": 3}
    )
    curves = loss(Source(folder)) or {}
    assert curves["other, training"] == [(1, 2.5), (2, 1.5)]
    assert len(curves["sft-tiny, training"]) == 24


@pytest.mark.parametrize(
    ("name", "lost", "step"),
    [
        ("clusters", ["cluster_map.json"], "the step cluster makes"),
        ("tags", ["tags.json", "tag_pool.json"], "normalize_tags and tag_pool"),
        ("scores", ["selected", "not_chosen"], "the step compare makes"),
        ("lengths", ["selected", "not_chosen"], "the step respond makes"),
        ("budgets", ["selected", "not_chosen"], "tag_evol, evol_instruct or auto_evol"),
        ("loss", ["sft-tiny"], "tagevol train"),
    ],
)
def test_a_figure_without_data_says_which_step_makes_it(folder: Path, name: str, lost: list[str], step: str) -> None:
    with pytest.raises(
        DataError, match=f"figure {name}: expected .*{step}.*; got a run of the steps: load, aspect_tags"
    ):
        RunFigures(without(folder, *lost)).figure(name)


def test_what_is_no_figure_or_no_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one of clusters, funnel, .*, got 'pie'"):
        RunFigures(folder).figure("pie")
    with pytest.raises(DataError, match="not a run folder"):
        RunFigures(tmp_path).names()
    with pytest.raises(DataError, match="not a run folder"):
        write_figures(tmp_path, tmp_path / "figures")
    assert list(tmp_path.iterdir()) == [folder]
