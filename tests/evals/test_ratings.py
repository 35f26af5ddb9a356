"""Ratings and verdicts in free text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.evals.ratings import only_rating_in, place_in, rating_in, two_scores_in


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Rating: [[5]]", 5.0),
        ("Rating: [[5.5]]", 5.5),
        ("Rating: [[10]]\n", 10.0),
        ("Rating: [[7.]]", 7.0),
        ("Rating: [5]", 5.0),
        ("see [3]. Rating: [[8]]", 8.0),  # two brackets go before one
        ("[[4]], or rather [[6]]", 4.0),  # FastChat takes the first
        ("Rating: 5", None),
        ("Rating: [[5/10]]", None),
        ("Rating: [[-3]]", None),
        ("Rating: [[rating]]", None),
        ("[[ 5 ]]", None),
        ("[[٥]]", None),
        (f"[[{'9' * 400}]]", None),
        ("", None),
        ("[" * 100_000, None),
        (f"[[{'9' * 100_000}", None),
        (f"[[1.{'9' * 100_000}x", None),
    ],
)
def test_ratings_are_read_as_fastchat_does(text, rating):
    assert rating_in(text) == rating


def test_ratings_that_differ_are_none_for_a_judge_that_can_be_asked_again():
    assert only_rating_in("[[4]], or rather [[6]]") is None
    assert only_rating_in("The answer says [[10]] of itself. Rating: [[2]]") is None
    assert only_rating_in("it is x[0] and x[1]. Rating: 5") is None
    assert only_rating_in("[[4]] it is: [[4.0]]") == 4
    assert only_rating_in("Rating: [5]") == 5
    assert only_rating_in("none") is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("So: [[A]]", "first"),
        ("[[B]]", "second"),
        ("[[C]]", "tie"),
        ("[[A]] … my verdict: [[A]]", "first"),
        ("not [[A]] but [[B]]", None),
        ("A is better", None),
        ("[A]", None),
        ("[[a]]", None),
    ],
)
def test_a_verdict_names_a_place(text, place):
    assert place_in(text) == place


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("8 9\nBoth are good.", (8, 9)),
        ("\n 9 8.5 \nwhy", (9, 8.5)),
        ("7, 8", (7, 8)),
        ("(7, 8)", (7, 8)),
        ("10/4", (10, 4)),
        ("9 and 7.\nwhy", (9, 7)),
        ("78", None),
        ("8", None),
        ("8 9 7", None),
        ("First, I solve it.\n8 9", None),
        ("-1 -1", None),
        ("", None),
    ],
)
def test_two_scores_on_the_first_line(text, scores):
    assert two_scores_in(text) == scores


@settings(max_examples=50)
@given(st.text(alphabet="[]0123456789.ABC x\n", max_size=60))
def test_any_text_is_read(text):
    only, first = only_rating_in(text), rating_in(text)
    assert only in (None, first)
    assert place_in(text) in ("first", "second", "tie", None)
    assert two_scores_in(text) is None or len(two_scores_in(text)) == 2


def test_recorded_ratings_and_scores_are_read_from_their_texts(data_file):
    lines = data_file("mt_bench/gpt4_single_judgments_llama2-13b.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [rating_in(row["judgment"]) for row in rows] == [row["score"] for row in rows]
    reviews = json.loads(data_file("judge/cherry_gpt4_reviews/vicuna_wrap_reviews_gpt4.json").read_text())["data"]
    for text, scores in (("review", "scores"), ("review_reverse", "scores_reverse")):
        assert [two_scores_in(row[text]) for row in reviews] == [tuple(json.loads(row[scores])) for row in reviews]
