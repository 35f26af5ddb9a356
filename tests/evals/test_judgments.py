"""Recorded judgments and reviews: the figures that their raw numbers give, and what is refused."""

import json
import math
import re
from collections import Counter

import pytest

from tagevol_hf.errors import DataError
from tagevol_hf.evals.judgments import read_judgments, read_reviews
from tagevol_hf.evals.mt_bench_figures import clustered_interval
from tagevol_hf.evals.mt_bench_recorded import recorded_result
from tagevol_hf.evals.pairwise_figures import preference
from tagevol_hf.evals.records import read_objects

RECORDED = "mt_bench/gpt4_single_judgments_llama2-13b.jsonl"
CHERRY = "judge/cherry_gpt4_reviews/vicuna_wrap_reviews_gpt4.json"
LLMBAR = "judge/llmbar/recorded_gpt4_runs_natural_slice.jsonl"


def judgment(question, turn, score=7, text=None, **more):
    return {"question_id": question, "turn": turn, "score": score, "judgment": text or f"Rating: [[{score}]]", **more}


def saved(path, rows):
    file = path / "judgments.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def whole():
    return [judgment(question, turn) for question in range(81, 161) for turn in (1, 2)]


def test_the_published_mean_of_llama2_13b(data_file):
    path = data_file(RECORDED)
    result = recorded_result(path, questions=read_objects(data_file("mt_bench/question.jsonl")))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    scores = [row["score"] for row in rows]
    assert (round(result.mean, 3), result.n, result.n_expected) == (5.469, 160, 160)
    assert result.mean == pytest.approx(sum(scores) / 160)
    for turn in (1, 2):
        of_turn = [row["score"] for row in rows if row["turn"] == turn]
        found = result.summary["turns"][str(turn)]
        assert (found["mean"], found["n"], found["n_expected"]) == (pytest.approx(sum(of_turn) / 80), 80, 80)
    maths = [row["score"] for row in rows if 111 <= row["question_id"] <= 120]
    assert result.summary["categories"]["math"]["mean"] == pytest.approx(sum(maths) / 20)
    assert {entry["n"] for entry in result.summary["categories"].values()} == {20}
    assert len(result.summary["categories"]) == 8
    assert result.summary["disagreements"] == []
    assert result.about["judge"] == "gpt-4"
    low, high = result.interval  # of whole conversations: equal clusters, so that of their means
    means = [sum(row["score"] for row in rows if row["question_id"] == question) / 2 for question in range(81, 161)]
    error = math.sqrt(sum((one - result.mean) ** 2 for one in means) / 79 / 80)
    assert (low, high) == pytest.approx((result.mean - 1.96 * error, result.mean + 1.96 * error), abs=1e-4)
    json.dumps(result.figures())


def test_the_turns_of_a_conversation_are_no_independent_values():
    pairs = [(question, rating) for question, rating in enumerate((2.0, 9.0, 4.0, 7.0)) for _ in range(2)]
    alone = [(place, rating) for place, (_, rating) in enumerate(pairs)]
    widths = [high - low for low, high in (clustered_interval(pairs), clustered_interval(alone))]
    assert widths[0] > 1.4 * widths[1]
    assert clustered_interval(pairs[:2]) is None


def test_half_of_the_file_is_refused_with_what_is_there(data_file, tmp_path):
    lines = data_file(RECORDED).read_text().splitlines()
    half = tmp_path / "half.jsonl"
    half.write_text("\n".join(lines[:80]))
    rows = [json.loads(line) for line in lines[:80]]
    count = Counter(row["turn"] for row in rows)
    said = f"80 of 160 judgments are there (turn 1: {count[1]} of 80, turn 2: {count[2]} of 80)"
    with pytest.raises(DataError, match=re.escape(said)):
        recorded_result(half)
    result = recorded_result(half, incomplete="allow")
    assert (result.n, result.n_expected, result.verdicts["missing"]) == (80, 160, 80)
    assert result.mean == pytest.approx(sum(row["score"] for row in rows) / 80)


def test_unreadable_judgments_are_counted_and_never_part_of_the_mean(tmp_path, whole):
    whole[0] = judgment(81, 1, -1, "$ERROR$")
    whole[1] = {"question_id": 81, "turn": 2, "judgment": "I cannot say."}
    whole[2] = judgment(82, 1, 0)  # what other programs make of the unreadable
    whole[3] = {"question_id": 82, "turn": 2, "judgment": "Rating: [[9]]"}
    result = recorded_result(saved(tmp_path, whole))
    assert (result.n, result.n_expected, result.summary["unreadable"]) == (157, 160, 3)
    assert result.mean == pytest.approx((156 * 7 + 9) / 157)
    assert result.verdicts == {"rated": 157, "unreadable": 3}
    assert result.summary["turns"]["1"]["n"] == 78
    with pytest.raises(DataError, match=r"160 of 160 judgments are there .*, 3 of them unreadable; .*unreadable=count"):
        recorded_result(saved(tmp_path, whole), unreadable="refuse")


def test_a_turn_twice_is_refused_or_the_last_is_taken(tmp_path, whole):
    path = saved(tmp_path, [judgment(90, 2, 1), *whole])
    with pytest.raises(DataError, match=r"1 turns have more than one judgment, first question 90, turn 2; .*last"):
        recorded_result(path)
    assert recorded_result(path, duplicates="last").mean == 7


def test_a_score_that_is_not_the_texts_is_reported(tmp_path, whole):
    whole[5] = judgment(83, 2, 7, "Rating: [[3]]")
    whole[7] = judgment(84, 2, -1, "Rating: [[6]]")
    summary = recorded_result(saved(tmp_path, whole)).summary
    assert summary["disagreements"] == [
        {"question": "83", "turn": 2, "recorded": 7.0, "in_text": 3.0},
        {"question": "84", "turn": 2, "recorded": None, "in_text": 6.0},
    ]
    assert summary["unreadable"] == 1


def test_one_model_and_one_judge_at_a_time(tmp_path, whole):
    mine = [{**row, "model": "mine", "judge": ["gpt-4", "single-v1"]} for row in whole]
    other = [{**row, "model": "other", "judge": ["gpt-4", "single-v1"], "score": 2} for row in whole]
    path = saved(tmp_path, mine + other)
    with pytest.raises(DataError, match="judgments of 2 models; name one of: mine, other"):
        recorded_result(path)
    assert recorded_result(path, model="mine").mean == 7
    with pytest.raises(DataError, match="no judgments of the model 'nine'; there are: mine, other"):
        recorded_result(path, model="nine")
    path = saved(tmp_path, [*mine[:80], *({**row, "judge": ["claude", "single-v1"]} for row in mine[80:])])
    with pytest.raises(DataError, match="2 judges; name one of: claude, gpt-4"):
        recorded_result(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question_id": 1}, "question 1, turn 1 is not of this benchmark, which has 80 questions of 2 turns"),
        ({"turn": 3}, "question 81, turn 3 is not of this benchmark"),
        ({"turn": "1"}, "row 1: turn: expected 1 or 2, got '1'"),
        ({"question_id": None}, "row 1: question_id: expected a number or a text, got None"),
        ({"score": "7"}, "row 1: score: expected a number, got '7'"),
        ({"score": math.nan}, "row 1: score: expected a number, got nan"),
        ({"score": None, "judgment": "no"}, None),
    ],
)
def test_what_is_no_judgment_is_refused_with_its_row(tmp_path, whole, change, said):
    whole[0] |= change
    path = saved(tmp_path, whole)
    if said is None:
        assert recorded_result(path).n == 159
        return
    with pytest.raises(DataError, match=re.escape(said)):
        recorded_result(path)


def test_nothing_to_take_a_mean_of(tmp_path, whole):
    with pytest.raises(DataError, match="holds no judgments"):
        recorded_result(saved(tmp_path, []))
    with pytest.raises(DataError, match="160 of them unreadable; there is nothing to take a mean of"):
        recorded_result(saved(tmp_path, [{**row, "score": -1} for row in whole]), incomplete="allow")
    with pytest.raises(DataError, match=r"row 1: expected `score` or `judgment`"):
        read_judgments(saved(tmp_path, [{"question_id": 81, "turn": 1}]))
    with pytest.raises(ValueError, match="incomplete: expected refuse or allow, got 'yes'"):
        recorded_result(saved(tmp_path, whole), incomplete="yes")


def test_reviews_in_both_orders_give_the_recorded_figures(data_file):
    path = data_file(CHERRY)
    found = preference(read_reviews(path))
    strict = preference(read_reviews(path), rule="conservative")
    rows = json.loads(path.read_text())["data"]
    straight = [json.loads(row["scores"]) for row in rows]
    turned = [json.loads(row["scores_reverse"])[::-1] for row in rows]
    wins = [((a > b) - (a < b), (c > d) - (c < d)) for (a, b), (c, d) in zip(straight, turned, strict=True)]
    total = [sum(pair) for pair in wins]
    assert (found.win, found.tie, found.lose) == tuple(
        sum(test) for test in zip(*((t > 0, t == 0, t < 0) for t in total), strict=True)
    )
    assert (found.win, found.tie, found.lose, found.n, found.n_expected) == (44, 15, 21, 80, 80)
    assert found.flip_rate == sum(a * b == -1 for a, b in wins) / 80 == 12 / 80
    assert found.change_rate == sum(a != b for a, b in wins) / 80
    assert (strict.win, strict.lose) == (wins.count((1, 1)), wins.count((-1, -1)))
    assert strict.tie == 80 - strict.win - strict.lose
    first = sum((a == 1) + (b == -1) for a, b in wins)
    decided = sum((a != 0) + (b != 0) for a, b in wins)
    assert found.position_bias == pytest.approx(first / decided - 0.5)
    longer = [
        (sign > 0) == (len(row["Answer1"]) > len(row["Answer2"]))
        for sign, row in zip(total, rows, strict=True)
        if sign and len(row["Answer1"]) != len(row["Answer2"])
    ]
    assert (found.length_bias, found.n_length) == (sum(longer) / len(longer), len(longer))
    assert found.length_interval[0] < found.length_bias < found.length_interval[1]


@pytest.mark.parametrize("name", ["alpaca-13b", "bard", "gpt35", "llama-13b"])
def test_reviews_in_one_order_say_nothing_about_flips(data_file, name):
    path = data_file(f"judge/vicuna_gpt4_reviews/review_{name}_vicuna-13b.jsonl")
    found = preference(read_reviews(path))
    scores = [json.loads(line)["score"] for line in path.read_text().splitlines()]
    count = Counter((first > second) - (first < second) for first, second in scores)
    assert (found.win, found.tie, found.lose, found.n) == (count[1], count[0], count[-1], 80)
    assert (found.flip_rate, found.position_bias, found.n_swapped) == (None, None, 0)


@pytest.mark.parametrize("method", ["CoT", "Swap", "Vanilla", "Vanilla_NoRules"])
def test_llmbars_pairwise_runs(data_file, method):
    path = data_file(LLMBAR)
    found = preference(read_reviews(path, method=method))
    rows = [row for row in map(json.loads, path.read_text().splitlines()) if row["method"] == method]
    said = []  # from the replies alone: the place that each names last
    for row in rows:
        straight, turned = (row["results"][0][f"swap = {swap}"]["completion"][0] for swap in (False, True))
        named = [re.findall(r"Output \(([ab])\)", text)[-1] for text in (straight, turned)]
        said.append((named[0] == "a", named[1] == "b"))
    both = Counter(said)
    assert (found.win, found.lose, found.n) == (both[True, True], both[False, False], 50)
    assert found.tie == both[True, False] + both[False, True]
    assert found.flip_rate == found.tie / 50
    assert found.position_bias == pytest.approx((both[True, False] - both[False, True]) / 100)


@pytest.mark.parametrize("method", ["Rating", "Rating_NoRules"])
def test_llmbars_single_ratings_tie_where_they_are_equal(data_file, method):
    path = data_file(LLMBAR)
    found = preference(read_reviews(path, method=method))
    rows = [row["results"][0] for row in map(json.loads, path.read_text().splitlines()) if row["method"] == method]
    scores = [(float(row["score_1"][0]), float(row["score_2"][0])) for row in rows]
    count = Counter((first > second) - (first < second) for first, second in scores)
    assert (found.win, found.tie, found.lose) == (count[1], count[0], count[-1])
    assert found.flip_rate is None


def test_reviews_that_cannot_be_read(data_file, tmp_path):
    with pytest.raises(DataError, match="several methods; name one of: CoT, Rating, Rating_NoRules, Swap, Vanilla"):
        read_reviews(data_file(LLMBAR))
    with pytest.raises(DataError, match="no run of the method 'Vote'"):
        read_reviews(data_file(LLMBAR), method="Vote")
    for rows, said in (
        ([{"text": "8 9"}], "got: text"),
        ([{"score": [1], "text": "x"}], r"row 1: expected two scores, got \[1\]"),
        ([{"data": [{"scores": "[1, 2]"}]}], "row 1: expected `scores` and `scores_reverse`, found: scores"),
        ([{"results": [], "index": 4, "method": "CoT"}], "CoT 4: expected two scores, or a `winner` of both orders"),
    ):
        with pytest.raises(DataError, match=said):
            read_reviews(saved(tmp_path, rows))


def test_a_review_without_a_verdict_is_counted_not_a_tie(tmp_path):
    rows = [{"score": [8, 9], "text": "8 9"}, {"score": [-1, -1], "text": "?"}, {"score": None, "text": "9 1\nwhy"}]
    path = saved(tmp_path, rows)
    with pytest.raises(DataError, match=r"only 2 of 3 have a verdict \(1 single judgments unreadable\)"):
        preference(read_reviews(path))
    found = preference(read_reviews(path), incomplete="allow")
    assert (found.win, found.tie, found.lose, found.n, found.n_expected, found.unreadable) == (1, 0, 1, 2, 3, 1)
