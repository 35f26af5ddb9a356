"""Judgments that GPT-4 once gave, both orders and free text: read, and turned back, as their recorders have them."""

import json
import math
import os
from pathlib import Path

import pytest
from datasets import Dataset

from tagevol_hf.errors import ParseError
from tagevol_hf.selection.free_text import scores_in_text, verdict_in_text
from tagevol_hf.selection.reliability import reliability
from tagevol_hf.selection.scores import fold_scores

JUDGE = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "judge"
VICUNA, CHERRY, LLMBAR = JUDGE / "vicuna_gpt4_reviews", JUDGE / "cherry_gpt4_reviews", JUDGE / "llmbar"
AS_SHOWN, SWAPPED = "swap = False", "swap = True"

# Question 70: the review says "Assistant 2: 4", the people who recorded it wrote 2. The winner is the same.
RECORDED_WRONG = {"bard": {70: ((10.0, 4.0), (10.0, 2.0))}, "llama-13b": {70: ((10.0, 4.0), (10.0, 2.0))}}


def absent(folder):
    return pytest.mark.skipif(not folder.is_dir(), reason=f"needs {folder} (TAGEVOL_TEST_DATA)")


def winner(first, second):
    return (first > second) - (first < second)


def pair_rows(judgments):
    """From (number, whether item 1 stands in front, score of the front, score of the back, length 1, length 2)."""
    rows = []
    for number, straight, front, back, *lengths in judgments:
        sides = [(f"{number}-1", lengths[0]), (f"{number}-2", lengths[1])]
        (first, long), (second, short) = sides if straight else sides[::-1]
        rows.append({
            "first_id": first, "second_id": second, "first_score": front, "second_score": back,
            "first_response": "x" * long, "second_response": "x" * short,
        })  # fmt: skip
    return Dataset.from_list(rows)


@absent(VICUNA)
@pytest.mark.parametrize("against", ["alpaca-13b", "bard", "gpt35", "llama-13b"])
def test_vicunas_reviews_are_read_as_recorded(against):
    lines = (VICUNA / f"review_{against}_vicuna-13b.jsonl").read_text(encoding="utf-8").splitlines()
    reviews = [json.loads(line) for line in lines]
    read = {review["question_id"]: scores_in_text(review["text"]) for review in reviews}
    recorded = {review["question_id"]: tuple(map(float, review["score"])) for review in reviews}
    assert len(read) == 80
    differ = {number: (read[number], recorded[number]) for number in read if read[number] != recorded[number]}
    assert differ == RECORDED_WRONG.get(against, {})
    assert {number: winner(*scores) for number, scores in read.items()} == {
        number: winner(*scores) for number, scores in recorded.items()
    }


@pytest.fixture
def cherry():
    return json.loads((CHERRY / "vicuna_wrap_reviews_gpt4.json").read_text(encoding="utf-8"))


@absent(CHERRY)
def test_cherrys_reviews_in_both_orders_are_read_as_recorded(cherry):
    for name in ("", "_reverse"):
        read = [scores_in_text(item[f"review{name}"]) for item in cherry["data"]]
        assert read == [tuple(json.loads(item[f"scores{name}"])) for item in cherry["data"]]
        means = [math.fsum(side) / len(read) for side in zip(*read, strict=True)]
        assert means == pytest.approx(json.loads(cherry["Meta_Info"][f"average_scores{name}"]), abs=1e-9)


@absent(CHERRY)
def test_cherrys_reviews_are_turned_back(cherry):
    """`scores_reverse` is in the order of presentation: its first number is for answer 2."""
    items, judgments = cherry["data"], []
    for number, item in enumerate(items):
        sizes = (len(item["Answer1"]), len(item["Answer2"]))
        judgments.append((number, True, *scores_in_text(item["review"]), *sizes))
        judgments.append((number, False, *scores_in_text(item["review_reverse"]), *sizes))
    compared = pair_rows(judgments)
    there = [winner(*json.loads(item["scores"])) for item in items]
    back = [-winner(*json.loads(item["scores_reverse"])) for item in items]

    found = reliability(compared)
    assert (found["n"], found["scored_pairs"], found["both_orders"]) == (160, 80, 80)
    flips = sum(one != other for one, other in zip(there, back, strict=True))
    assert found["flip_rate"] == flips / 80 == 0.325  # 26 verdicts change ...
    assert sum(one * other < 0 for one, other in zip(there, back, strict=True)) == 12  # ... 12 of them to the opposite
    firsts = sum(verdict > 0 for verdict in there) + sum(verdict < 0 for verdict in back)
    seconds = sum(verdict < 0 for verdict in there) + sum(verdict > 0 for verdict in back)
    assert found["judge_position_bias"] == pytest.approx((firsts - seconds) / 160, abs=1e-6)

    scores = fold_scores(compared)
    for number, item in enumerate(items):
        one, two = json.loads(item["scores"]), json.loads(item["scores_reverse"])
        assert scores[f"{number}-1"].value == (one[0] + two[1]) / 2
        assert scores[f"{number}-2"].value == (one[1] + two[0]) / 2


@pytest.fixture
def llmbar():
    lines = (LLMBAR / "recorded_gpt4_runs_natural_slice.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def verdict(result, order):
    """The winner, 1 or 2, that the text of one order names, turned back."""
    front = verdict_in_text(result[order]["completion"][0]) == "first"
    return "1" if front == (order == AS_SHOWN) else "2"


def shown(better, order):
    """Made-up scores of front and back, from the recorded winner."""
    return (60.0, 40.0) if (better == "1") == (order == AS_SHOWN) else (40.0, 60.0)


@absent(LLMBAR)
@pytest.mark.parametrize(("method", "flips"), [("Vanilla", 2), ("Vanilla_NoRules", 2), ("CoT", 4), ("Swap", 3)])
def test_llmbars_pairwise_verdicts_are_read_and_turned_back(llmbar, method, flips):
    results = [line["results"][0] for line in llmbar if line["method"] == method]
    assert len(results) == 50
    for result in results:
        for order in (AS_SHOWN, SWAPPED):
            assert verdict(result, order) == result[order]["winner"]
    judgments = [
        (number, order == AS_SHOWN, *shown(result[order]["winner"], order), 1, 1)
        for number, result in enumerate(results)
        for order in (AS_SHOWN, SWAPPED)
    ]  # fmt: skip
    found = reliability(pair_rows(judgments))
    assert found["flip_rate"] == flips / 50
    assert 0.87 <= 1 - found["flip_rate"] <= 0.97  # the published range of GPT-4's consistency, over all its sets
    assert found["tie_rate"] == 0


@absent(LLMBAR)
@pytest.mark.parametrize(("method", "ties"), [("Rating", 7), ("Rating_NoRules", 8)])
def test_llmbars_ratings_one_by_one(llmbar, method, ties):
    """A rating has no order. Where both are equal, the recorded winner changes with the order."""
    results = [line["results"][0] for line in llmbar if line["method"] == method]
    rated = [tuple(float(result[f"score_{side}"][0]) for side in (1, 2)) for result in results]
    for scores, result in zip(rated, results, strict=True):
        expected = {"1", "2"} if scores[0] == scores[1] else {"1" if scores[0] > scores[1] else "2"}
        assert {result[order]["winner"] for order in (AS_SHOWN, SWAPPED)} == expected
    assert sum(first == second for first, second in rated) == ties
    assert 0.10 <= ties / 50 <= 0.24  # the published range of GPT-4's ties, over all its sets


@absent(LLMBAR)
def test_a_verdict_that_is_not_there_is_not_made_up(llmbar):
    with pytest.raises(ParseError, match="not_json"):
        verdict_in_text("5")
    with pytest.raises(ParseError, match="not_json"):
        scores_in_text(
            next(line for line in llmbar if line["method"] == "CoT")["results"][0][AS_SHOWN]["completion"][0]
        )
