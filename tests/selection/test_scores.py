import math

import pytest
from clustered_rows import clustered
from datasets import Dataset

from tagevol_hf.errors import DataError
from tagevol_hf.rows import rejection, split_rejected
from tagevol_hf.selection.scores import Score, add_scores, fold_scores


def judged(*given, responses=None):
    """Pair-rows from (first, second, score of the first, score of the second); a score may be None."""
    names = ("first_id", "second_id", "first_score", "second_score")
    columns = {name: [row[place] for row in given] for place, name in enumerate(names)}
    lost = rejection("compare", "timeout")
    columns["rejection"] = [lost if None in row[2:] else None for row in given]
    for side in ("first", "second"):
        columns[f"{side}_response"] = [(responses or {}).get(row_id, "") for row_id in columns[f"{side}_id"]]
    return Dataset.from_dict(columns)


BOTH = judged(("a", "b", 80.0, 60.0), ("b", "a", 70.0, 70.0), ("a", "c", 90.0, 10.0), ("c", "a", 20.0, 95.5))


def test_the_mean_is_that_of_all_comparisons_and_its_error_that_of_the_pairs():
    scores = fold_scores(BOTH)
    assert scores["a"].value == (80 + 70 + 90 + 95.5) / 4
    pairs = (75.0, 92.75)
    assert scores["a"].error == pytest.approx(abs(pairs[0] - pairs[1]) / 2)
    assert (scores["a"].comparisons, scores["a"].wins, scores["a"].ties, scores["a"].losses) == (4, 3, 1, 0)
    assert scores["b"] == Score(65.0, None, 2, 0, 1)  # one pair says nothing of its own error
    assert list(scores) == ["a", "b", "c"]


def test_the_error_is_that_of_the_mean_of_three_pairs():
    scores = fold_scores(judged(("a", "b", 60.0, 1.0), ("a", "c", 70.0, 1.0), ("a", "d", 80.0, 1.0)))
    assert scores["a"].error == pytest.approx(10 / math.sqrt(3))


def test_a_rejected_comparison_counts_for_nothing_even_with_scores():
    given = judged(("a", "b", 80.0, 60.0), ("a", "b", 1.0, 99.0))
    marks = [None, rejection("compare", "too_long")]
    given = given.remove_columns("rejection").add_column("rejection", marks)
    assert fold_scores(given)["a"] == Score(80.0, None, 1, 1, 0)


def test_a_score_of_one_side_alone_counts_for_nothing():
    given = judged(("a", "b", 80.0, 60.0), ("a", "c", 1.0, None)).remove_columns("rejection")
    assert fold_scores(given) == {"a": Score(80.0, None, 1, 1, 0), "b": Score(60.0, None, 1, 0, 0)}


def test_the_order_of_the_comparisons_has_no_say():
    many = [("a", f"x{number}", 10.1 + number / 7, 50.0) for number in range(50)]
    for method in ("mean", "bradley-terry"):
        assert fold_scores(judged(*many), method) == fold_scores(judged(*reversed(many)), method)


def test_a_missing_score_is_missing_and_never_0():
    scores = fold_scores(judged(("a", "b", 80.0, 60.0), ("b", "a", None, None), ("a", "c", None, None)))
    assert scores == {"a": Score(80.0, None, 1, 1, 0), "b": Score(60.0, None, 1, 0, 0)}
    beaten = fold_scores(
        judged(("a", "b", 80.0, 60.0), ("b", "a", None, None), ("a", "c", None, None)), "bradley-terry"
    )
    assert set(beaten) == {"a", "b"}
    assert beaten["a"].comparisons == 1


def test_columns_and_rejections_that_add_scores_writes():
    rows = clustered(0, 0, 0, ids=["a", "b", "c"])
    done = add_scores(rows, {"a": Score(71.5, 2.5, 4, 3, 1), "b": Score(60.0, None, 2, 0, 0)})
    assert done["score"][:] == [71.5, 60.0, None]
    assert done["score_error"][:] == [2.5, None, None]
    assert done["comparisons"][:] == [4, 2, 0]
    assert {name: str(done.features[name].dtype) for name in ("score", "score_error", "comparisons")} == {
        "score": "float64", "score_error": "float64", "comparisons": "int64"}  # fmt: skip
    good, lost = split_rejected(done)
    assert good["id"][:] == ["a", "b"]
    assert lost[0]["rejection"]["reason"] == "no_score"
    assert lost[0]["rejection"]["detail"] == "none of its comparisons gave a score"


def test_an_earlier_rejection_stays_and_a_lone_row_says_so():
    rows = clustered(0, ids=["a"])
    assert add_scores(rows, {})["rejection"][0]["detail"] == "the only row; there is nothing to compare it with"
    mark = rejection("normalize", "no_tags", "gone")
    marked = rows.remove_columns("rejection").add_column("rejection", [mark])
    done = add_scores(marked, {"a": Score(50.0, 1.0, 2, 1, 0)})
    assert done["rejection"][0]["reason"] == "no_tags"
    assert done["score"][:] == [None]


def test_rows_that_were_not_compared_keep_every_column():
    done = add_scores(clustered(0, 0, ids=["a", "b"]), {"b": Score(50.0, None, 1, 0, 1)})
    nothing, scored = done
    assert (nothing["score"], nothing["score_error"], nothing["comparisons"]) == (None, None, 0)
    assert (scored["score"], scored["score_error"], scored["comparisons"], scored["rejection"]) == (50.0, None, 1, None)


def test_what_fold_scores_refuses():
    with pytest.raises(DataError, match=r"fold_scores\.method: expected one of mean, bradley-terry, got 'elo'"):
        fold_scores(BOTH, "elo")
    lacking = BOTH.remove_columns(["first_score", "second_score"])
    with pytest.raises(DataError, match="need the columns first_score, second_score; the data set has: first_id, sec"):
        fold_scores(lacking)
    with pytest.raises(DataError, match=r"second_response; apply Comparer to pairs\(dataset\) first$"):
        fold_scores(lacking)


def test_bradley_terry_takes_verdicts_only():
    small = judged(("a", "b", 61.0, 60.0), ("b", "c", 61.0, 60.0))
    large = judged(("a", "b", 99.0, 1.0), ("b", "c", 62.0, 2.0))
    one, other = fold_scores(small, "bradley-terry"), fold_scores(large, "bradley-terry")
    assert one == other
    assert one["a"].value > one["b"].value > one["c"].value
    assert one["b"].value == pytest.approx(50)
    assert all(0 < score.value < 100 and math.isfinite(score.error) for score in one.values())


def test_a_verdict_weighs_the_same_in_whichever_order_the_two_stood():
    forward = judged(("a", "b", 80.0, 60.0), ("b", "c", 50.0, 50.0), ("c", "a", 30.0, 40.0), ("c", "b", 70.0, 20.0))
    turned = judged(("b", "a", 60.0, 80.0), ("c", "b", 50.0, 50.0), ("a", "c", 40.0, 30.0), ("b", "c", 20.0, 70.0))
    one, other = fold_scores(forward, "bradley-terry"), fold_scores(turned, "bradley-terry")
    assert one == other
    assert one["a"].value > 60 > one["c"].value > one["b"].value
    even = fold_scores(judged(("a", "b", 5.0, 5.0)), "bradley-terry")
    assert even["a"].value == even["b"].value == 50
    once = fold_scores(judged(("a", "b", 9.0, 5.0), ("a", "b", 5.0, 5.0)), "bradley-terry")
    always = fold_scores(judged(("a", "b", 9.0, 5.0), ("a", "b", 9.0, 5.0)), "bradley-terry")
    assert 50 < once["a"].value < always["a"].value


def test_a_flip_is_a_tie_for_bradley_terry():
    flipped = fold_scores(judged(("a", "b", 80.0, 60.0), ("b", "a", 80.0, 60.0)), "bradley-terry")
    assert flipped["a"].value == flipped["b"].value == 50
    assert (flipped["a"].wins, flipped["a"].losses) == (1, 1)
