"""Scores and figures from a judge whose faults are known: the issue's second list, line by line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau
from selection.simulated_judge import Judge, against_equals, values, world

from tagevol_hf.selection.length_control import control_length
from tagevol_hf.selection.pairing import pairs
from tagevol_hf.selection.reliability import reliability
from tagevol_hf.selection.scores import add_scores, fold_scores

# Fast: 1,000 rows in 10 clusters of 100. Slow: the 5,000 rows in 50 clusters of 100.
SIZES = pytest.mark.parametrize("clusters", [10, pytest.param(50, marks=pytest.mark.slow)])
FEWER = pytest.mark.parametrize("clusters", [3, pytest.param(50, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def worlds():
    """A world by its number of clusters, with its plan of two others a row in both orders; each made once."""
    made = {}

    def of(clusters):
        if clusters not in made:
            there = world(100 * clusters, clusters)
            made[clusters] = (there, pairs(there.rows, plan="k-regular", comparisons=2, orders="both"))
        return made[clusters]

    return of


@SIZES
@pytest.mark.parametrize("ceiling", [0.0, 0.76])
def test_the_comparative_score_beats_singleton_scoring_at_the_same_number_of_calls(worlds, clusters, ceiling):
    """A comparative call scores two rows, so that each row has four scores from two calls a row."""
    there, planned = worlds(clusters)
    judge, rows = Judge(position=5, ceiling=ceiling), len(there.rows)
    assert len(planned) == 2 * rows
    comparative = there.tau(values(fold_scores(judge.compare(planned, there))))
    singleton = there.tau(judge.single(there, times=len(planned) // rows))
    assert comparative > singleton + (0.15 if ceiling else 0.05)


@SIZES
def test_both_orders_drive_the_position_bias_under_a_hundredth(worlds, clusters):
    there, planned = worlds(clusters)
    judge = Judge(position=8)
    both = reliability(judge.compare(planned, there))
    one = reliability(judge.compare(pairs(there.rows, comparisons=4, orders="one"), there))
    assert one["position_bias"] == pytest.approx(0.08, abs=0.01)
    assert abs(both["position_bias"]) < 0.01
    assert one["judge_position_bias"] == pytest.approx(both["judge_position_bias"], abs=0.05)
    assert both["judge_position_bias"] > 0.2
    assert both["flip_rate"] > reliability(Judge().compare(planned, there))["flip_rate"] + 0.03


@SIZES
def test_the_length_controlled_score_removes_a_planted_length_bias(worlds, clusters):
    there, planned = worlds(clusters)
    compared = Judge(length=8).compare(planned, there)
    found = reliability(compared)
    assert found["length_bias"] > 0.6
    assert found["length_correlation"] > 0.25
    rows = control_length(add_scores(there.rows, fold_scores(compared)))
    left = kendalltau(rows["length_controlled_score"], there.length).statistic
    assert abs(left) < 0.05
    before, after = (there.tau(dict(zip(rows["id"], rows[name], strict=True)))
                     for name in ("score", "length_controlled_score"))  # fmt: skip
    unbiased = there.tau(values(fold_scores(Judge().compare(planned, there))))
    assert after > before + 0.1
    assert after == pytest.approx(unbiased, abs=0.02)


def test_length_control_also_removes_quality_that_goes_with_length():
    """The warning in its description: where longer is better, it costs."""
    there = world(500, 5, length_with_worth=0.6)
    rows = control_length(add_scores(there.rows, fold_scores(Judge().compare(pairs(there.rows), there))))
    before, after = (there.tau(dict(zip(rows["id"], rows[name], strict=True)))
                     for name in ("score", "length_controlled_score"))  # fmt: skip
    assert after < before - 0.1


@FEWER
def test_mean_and_bradley_terry_are_both_right_on_a_balanced_plan(clusters):
    there = world(100 * clusters, clusters)
    compared = Judge(position=5).compare(pairs(there.rows, comparisons=8), there)
    mean, bradley_terry = (values(fold_scores(compared, method)) for method in ("mean", "bradley-terry"))
    assert there.tau(mean) > 0.8
    assert there.tau(bradley_terry) > 0.65
    ids = sorted(mean)
    assert kendalltau([mean[i] for i in ids], [bradley_terry[i] for i in ids]).statistic > 0.6


@FEWER
def test_bradley_terry_is_right_where_rows_meet_their_equals_and_the_judge_sees_contrast(clusters):
    """The mean takes a row among strong ones for a weak one."""
    there = world(100 * clusters, clusters)
    compared = Judge(contrast=3).compare(against_equals(there, near=20, meetings=10), there)
    mean, bradley_terry = (there.tau(values(fold_scores(compared, method))) for method in ("mean", "bradley-terry"))
    assert bradley_terry > 0.85
    assert mean < bradley_terry - 0.1


@FEWER
def test_the_mean_is_right_with_few_pairs_and_between_clusters(clusters):
    """Verdicts say less than scores, and nothing about rows that no chain of pairs links."""
    there = world(100 * clusters, clusters, between=0.5)
    compared = Judge().compare(pairs(there.rows, comparisons=2), there)
    mean, bradley_terry = (values(fold_scores(compared, method)) for method in ("mean", "bradley-terry"))
    assert there.tau(mean) > there.tau(bradley_terry) + 0.1
    assert there.tau(mean, inside=False) > there.tau(bradley_terry, inside=False) + 0.2


def test_the_errors_of_the_mean_are_as_large_as_they_say():
    """The two orders of a pair share nothing here but the pair, which the error does not need to know."""
    there = world(400, 4)
    scores = fold_scores(Judge(position=10).compare(pairs(there.rows, comparisons=10), there))
    missed = [(scores[row_id].value - worth) / scores[row_id].error
              for row_id, worth in zip(there.rows["id"], there.worth, strict=True)]  # fmt: skip
    assert 0.85 < np.mean(np.abs(missed) < 2) < 0.97


def test_transitivity_shows_noise():
    there = world(200, 2)
    planned = pairs(there.rows, comparisons=6)
    calm, noisy = (reliability(Judge(noise=noise).compare(planned, there)) for noise in (2, 30))
    assert calm["triads"] > 200
    assert calm["transitivity"] > 0.97 > noisy["transitivity"] > 0.75


def test_agreement_with_singleton_falls_with_its_ceiling():
    there = world(300, 3)
    planned = pairs(there.rows)
    found = {}
    for ceiling in (0.0, 0.76):
        judge = Judge(ceiling=ceiling)
        compared, single = judge.compare(planned, there), judge.single(there, 1)
        rows = add_scores(there.rows, fold_scores(compared))
        rows = rows.add_column("single_score", [single[row_id] for row_id in rows["id"]])
        found[ceiling] = reliability(compared, rows)
    assert found[0.0]["agreement_with_single"] > found[0.76]["agreement_with_single"] + 0.1
    assert found[0.76]["single_score_ties"] > 0.4 > 0.05 > found[0.0]["single_score_ties"]
    assert found[0.76]["score_ties"] < 0.05


@pytest.mark.slow
def test_the_benchmark_holds_its_targets_on_fewer_rows(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "selection" / "judge.py"
    done = subprocess.run([sys.executable, script, "--clusters", "12", "--results", tmp_path],
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    text = next(tmp_path.glob("selection-judge-*.md")).read_text(encoding="utf-8")
    assert "## What is assumed" in text
    assert "1,200 rows in 12 clusters" in text
