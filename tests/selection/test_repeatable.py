"""Who meets whom is a function of the recipe: the same today, tomorrow, and in the next version."""

import re
from collections import Counter

import pytest
from clustered_rows import answer, clustered
from scripted import ScriptedEngine

import tagevol_hf as te
from tagevol_hf.errors import ParseError
from tagevol_hf.selection.compare import Comparer
from tagevol_hf.selection.marks import DIMENSIONS, MARKS, marks_schema, score_of
from tagevol_hf.selection.pairing import pair_id
from tagevol_hf.selection.rounds import compare_rows
from tagevol_hf.selection.swiss import has_rounds, next_round

ROWS = (*[0] * 6, *[1] * 3, 2)
ONE = {
    "k-regular": "1-0 0-2 3-1 2-9 5-3 4-5 9-4 7-6 8-6 8-7",
    "adjacent": "1-0 5-0 0-9 2-1 2-3 2-9 3-4 4-5 7-6 8-6 8-7",
    "anchor": "0-2 4-0 0-9 2-1 1-4 2-3 4-2 5-2 2-9 3-4 4-5 7-6 8-6 8-7",
}


def told(pairs):
    return " ".join(f"{row['first_id'][1:]}-{row['second_id'][1:]}" for row in pairs)


def by_number(request):
    """A judge that gives "answer N" the score 10 + N % 90."""
    first, second = re.findall(r"_response>\nanswer (\d+)\n", request.messages[-1].content)
    return answer(10 + int(first) % 90, 10 + int(second) % 90)


@pytest.mark.parametrize("plan", ONE)
def test_the_pairs_of_a_plan(plan):
    rows = clustered(*ROWS)
    assert told(te.pairs(rows, plan=plan, orders="one")) == ONE[plan]
    turned = rows.select(range(len(rows) - 1, -1, -1))
    assert set(told(te.pairs(turned, plan=plan, orders="both")).split()) >= set(ONE[plan].split())


def test_a_lone_row_meets_the_nearest_cluster_and_another_seed_draws_others():
    rows = clustered(*[0] * 4, *[1] * 3, 2, near={2: 1})
    assert told(te.pairs(rows, orders="one", seed=7)) == "1-0 3-0 2-1 2-3 5-4 4-7 6-5 7-6"
    assert told(te.pairs(rows, orders="one", seed=8)) != told(te.pairs(rows, orders="one", seed=7))


def test_comparing_takes_the_pairs_as_planned_and_tells_them_first():
    rows, engine, heard = clustered(*ROWS), ScriptedEngine(by_number), []
    done = compare_rows(rows, Comparer(engine), tell=lambda planned, total: heard.append((told(planned), total)))
    planned = te.pairs(rows, plan="k-regular", comparisons=2, orders="both", seed=42)
    assert told(done) == told(planned)
    assert heard == [(told(planned), len(planned))]
    other = compare_rows(rows, Comparer(engine), plan="anchor", comparisons=1, orders="one", seed=3)
    assert told(other) == told(te.pairs(rows, plan="anchor", comparisons=1, orders="one", seed=3))


@pytest.mark.parametrize(("orders", "times"), [("one", 1), ("both", 2)])
def test_a_tournament(orders, times):
    rows, heard = clustered(*[0] * 19, *[1] * 4, 2), []
    done = compare_rows(
        rows,
        Comparer(ScriptedEngine(by_number)),
        plan="swiss",
        comparisons=2,
        orders=orders,
        tell=lambda planned, total: heard.append((len(planned), total)),
    )
    assert heard == [(16 * times, 26 * times)]
    assert len(done) == 26 * times
    if orders == "one":
        first, second = ([row for row in done if row["round"] == number] for number in (1, 2))
        assert told(first) == "5-0 8-1 12-10 13-11 13-14 13-23 15-16 17-4 18-7 20-19 22-19 6-2 20-21 22-21 7-23 3-9"
        assert told(second) == "1-0 2-1 9-10 12-11 13-15 16-14 17-18 3-4 6-5 8-7"


def test_a_tournament_of_an_odd_number_with_a_row_that_is_never_judged():
    def faulty(request):
        return "no" if "answer 7\n" in request.messages[-1].content else by_number(request)

    rows, comparer = clustered(*[0] * 25), Comparer(ScriptedEngine(faulty))
    done = compare_rows(rows, comparer, plan="swiss", comparisons=3, orders="one")
    rounds = [told(row for row in done if row["round"] == number) for number in (1, 2, 3)]
    assert rounds == [
        "0-7 1-23 17-10 13-11 12-22 13-14 3-15 4-16 18-21 19-6 8-2 20-24 5-9",
        "0-14 2-1 9-10 12-11 13-7 15-16 17-18 20-19 2-3 22-21 24-23 4-5 8-6",
        "1-0 3-1 10-11 7-12 13-15 16-14 19-17 20-18 4-2 21-23 22-24 6-5 9-8",
    ]
    doubles = [Counter(re.findall(r"\d+", names)).most_common(2) for names in rounds]
    assert [[times for _, times in found] for found in doubles] == [[2, 1]] * 3
    assert len({found[0][0] for found in doubles}) == 3, "nobody meets two others in two rounds"


def test_a_tournament_whose_judge_never_answers_goes_on_in_drawn_order():
    rows = clustered(*[0] * 20)
    done = compare_rows(rows, Comparer(ScriptedEngine(lambda request: "no")), plan="swiss", comparisons=2, orders="one")
    assert [row["round"] for row in done] == [1] * 10 + [2] * 10
    assert {row["rejection"]["reason"] for row in done} == {"not_json"}


def test_of_an_odd_number_the_last_meets_one_who_was_seldom_in_two_pairs():
    ids = list("abcde")
    assert next_round(ids, set(), {}) == [("d", "e"), ("a", "b"), ("c", "d")]
    assert next_round(ids, {("d", "e")}, {}) == [("c", "e"), ("a", "b"), ("c", "d")]
    assert next_round(ids, set(), {"d": 1, "c": 1})[0] == ("b", "e")
    assert next(size for size in range(30) if has_rounds(size, 2)) == 19


def test_ids_of_pairs_are_told_apart():
    assert pair_id("a", "b") == "a|b"
    assert pair_id("a|b", "c\\") == "a\\|b|c\\\\"
    assert len({pair_id("a|", "b"), pair_id("a", "|b"), pair_id("a\\", "b"), pair_id("a", "\\b")}) == 4


def test_seven_marks_from_1_to_100_of_equal_weight():
    assert marks_schema() == {
        "title": "marks",
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 1, "maximum": 100} for name in DIMENSIONS},
        "required": list(DIMENSIONS),
        "additionalProperties": False,
    }
    assert list(MARKS) == list(DIMENSIONS)
    assert score_of({**dict.fromkeys(DIMENSIONS, 50), "safety": 51}) == 50.142857


@pytest.mark.parametrize(("scores", "fits"), [((1, 100), True), ((100, 1), True), ((0.5, 7), False), ((7, 101), False)])
def test_scores_without_json_are_from_1_to_100(scores, fits):
    rows = clustered(0, 0)
    reply = f"Both are fine.\nScore of the first: {scores[0]}\nScore of the second: {scores[1]}"
    done = compare_rows(rows, Comparer(ScriptedEngine(lambda request: reply), attempts=1), comparisons=1, orders="one")
    if fits:
        assert (done[0]["first_score"], done[0]["second_score"], done[0]["dimensions"]) == (*scores, None)
        assert done[0]["analysis"] == reply
    else:
        assert done[0]["rejection"]["reason"] in ("wrong_schema", "not_json")
        with pytest.raises(ParseError):
            Comparer(ScriptedEngine(by_number)).parse({}, reply)
