import json
import math
import random
from itertools import combinations, pairwise

import pytest
from datasets import Dataset

from tagevol_hf.errors import DataError
from tagevol_hf.selection.reliability import reliability


def judged(*given, **responses):
    """Pair-rows from (first, second, score of the first, score of the second)."""
    names = ("first_id", "second_id", "first_score", "second_score")
    columns = {name: [row[place] for row in given] for place, name in enumerate(names)}
    for side in ("first", "second"):
        columns[f"{side}_response"] = [responses.get(row_id, "") for row_id in columns[f"{side}_id"]]
    return Dataset.from_dict(columns)


def test_the_figures_of_a_few_comparisons():
    compared = judged(
        ("a", "b", 80.0, 60.0), ("b", "a", 70.0, 60.0),  # flips: the first place wins both times
        ("a", "c", 90.0, 30.0), ("c", "a", 30.0, 30.0),  # won, then equal: flips
        ("b", "c", 50.0, 40.0), ("c", "b", 40.0, 50.0),  # holds
        ("a", "d", None, None),
        a="aaaa", b="bb", c="cccc",
    )  # fmt: skip
    found = reliability(compared)
    assert {name: found[name] for name in ("n", "missing", "scored_pairs", "both_orders")} == {
        "n": 6, "missing": 1, "scored_pairs": 3, "both_orders": 3}  # fmt: skip
    assert found["flip_rate"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["tie_rate"] == pytest.approx(1 / 6, abs=1e-6)
    assert found["judge_position_bias"] == pytest.approx((4 - 1) / 6, abs=1e-6)
    assert found["length_bias"] == 0.5  # a beats b by length; c loses to b
    # mean scores: a 65, b 57.5, c 35; lengths 4, 2, 4: one pair for, one against
    assert found["length_correlation"] == 0
    assert (found["triads"], found["transitivity"]) == (1, 1.0)
    assert found["agreement_with_single"] is None


def test_position_bias_is_the_judges_lead_with_one_order_and_cancels_with_both():
    names = [f"r{number}" for number in range(40)]
    one = [(first, second, 60.0, 50.0) for first, second in pairwise(names)]
    both = one + [(second, first, 60.0, 50.0) for first, second, *_ in one]
    assert reliability(judged(*one))["position_bias"] == 0.1
    assert reliability(judged(*one))["judge_position_bias"] == 1
    turned = [(second, first, 60.0, 50.0) for first, second, *_ in one]
    assert reliability(judged(*turned))["position_bias"] == 0.1
    assert reliability(judged(*both))["position_bias"] == 0
    assert reliability(judged(*both))["judge_position_bias"] == 1
    assert reliability(judged(*both))["flip_rate"] == 1


def test_position_bias_does_not_follow_the_alphabet():
    """Ids that happen to be sorted by quality are no position bias."""
    names = [f"r{number:04}" for number in range(801)]
    given = [(first, second, 50.0, 60.0) for first, second in pairwise(names)]
    both = given + [(second, first, 60.0, 50.0) for first, second, *_ in given]
    assert abs(reliability(judged(*both))["position_bias"]) < 0.01


def test_the_order_of_the_comparisons_has_no_say():
    given = [("a", "b", 80.1, 60.3), ("b", "a", 70.2, 60.7), ("c", "a", 30.9, 50.4), ("b", "c", 50.6, 40.2)]
    assert reliability(judged(*given, a="xx")) == reliability(judged(*reversed(given), a="xx"))


def test_circles_are_found():
    circle = [("a", "b", 60.0, 50.0), ("b", "c", 60.0, 50.0), ("c", "a", 60.0, 50.0)]
    chain = [("d", "e", 60.0, 50.0), ("e", "f", 60.0, 50.0), ("d", "f", 60.0, 50.0)]
    tied = [("g", "h", 50.0, 50.0), ("h", "i", 50.0, 60.0), ("i", "g", 50.0, 60.0)]
    found = reliability(judged(*circle, *chain, *tied, ("a", "d", 60.0, 50.0)))
    assert (found["triads"], found["transitivity"]) == (3, pytest.approx(2 / 3, abs=1e-6))
    both = circle + [(second, first, its, own) for first, second, own, its in circle]
    assert reliability(judged(*both))["transitivity"] == 0


def test_verdicts_by_lot_make_a_circle_of_each_fourth_triad():
    draw = random.Random(0)
    names = [f"r{number}" for number in range(40)]
    given = [(one, other, 50.0, 50.0 + draw.choice((-1, 1))) for one, other in combinations(names, 2)]
    found = reliability(judged(*given))
    assert found["triads"] == math.comb(40, 3)
    assert found["transitivity"] == pytest.approx(0.75, abs=0.02)


def test_agreement_with_single_scores():
    compared = judged(("a", "b", 80.0, 60.0))
    rows = Dataset.from_dict({"score": [10.0, 20.0, 30.0, None, 40.0], "single_score": [9.0, 9.0, 9.0, 9.0, 10.0]})
    found = reliability(compared, rows)
    assert found["agreement_with_single"] == pytest.approx(3 / math.sqrt(6 * 3), abs=1e-6)
    assert found["score_ties"] == 0
    assert found["single_score_ties"] == 0.5
    assert reliability(compared, rows.remove_columns("single_score"))["agreement_with_single"] is None
    flat = Dataset.from_dict({"score": [1.0, 2.0], "single_score": [9.0, 9.0]})
    assert reliability(compared, flat)["agreement_with_single"] is None


def test_what_cannot_be_had_is_none_and_all_is_json():
    found = reliability(judged(("a", "b", None, None)))
    counts = ("n", "missing", "scored_pairs", "both_orders", "triads")
    assert [found[name] for name in counts] == [0, 1, 0, 0, 0]
    assert {value for name, value in found.items() if name not in counts} == {None}
    full = reliability(
        judged(("a", "b", 80.0, 60.0), a="x"), Dataset.from_dict({"score": [1.0, 2.0], "single_score": [1.0, 3.0]})
    )
    assert json.loads(json.dumps(full, allow_nan=False)) == full
    assert {type(value) for value in full.values()} <= {int, float, type(None)}


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="scores need the columns first_score"):
        reliability(judged(("a", "b", 1.0, 2.0)).remove_columns("first_score"))
