import json
import re
from collections import Counter

import pytest
from datasets import Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine

from tagevol_hf.engines.base import Reply, failed
from tagevol_hf.engines.open import open_engine
from tagevol_hf.errors import DataError
from tagevol_hf.rows import ROW_FEATURES, rejection, split_rejected
from tagevol_hf.selection.compare import DIMENSIONS, Comparer, Score, add_scores, fold_scores, pairs, reliability
from tagevol_hf.selection.pairing import regular_links

CLUSTERED = Features({**ROW_FEATURES, "cluster": Value("int64"), "nearest_other": Value("int64")})


def clustered(*numbers, near=None, responses=None, ids=None):
    """Rows r0, r1, … in the given clusters; `near` says which other cluster is nearest to each cluster."""
    count = len(numbers)
    return Dataset.from_dict(
        {
            "id": ids or [f"r{place}" for place in range(count)],
            "instruction": [f"ask {place}" for place in range(count)],
            "input": ["more" if place == 1 else "" for place in range(count)],
            "response": responses or [f"answer {place}" for place in range(count)],
            "history": [[] for _ in range(count)],
            "rejection": [None] * count,
            "cluster": list(numbers),
            "nearest_other": [(near or {}).get(number) for number in numbers],
        },
        features=CLUSTERED,
    )


def met(planned):
    """Which rows each row meets."""
    found = {}
    for row in planned:
        found.setdefault(row["first_id"], set()).add(row["second_id"])
        found.setdefault(row["second_id"], set()).add(row["first_id"])
    return found


def compared(*verdicts, responses=("short", "a longer one")):
    """Pair-rows (first, second, first_score, second_score); a row that is named "b…" has the longer response."""
    text = {first: responses[first.startswith("b")] for verdict in verdicts for first in verdict[:2]}
    return Dataset.from_dict(
        {
            "first_id": [verdict[0] for verdict in verdicts],
            "second_id": [verdict[1] for verdict in verdicts],
            "first_response": [text[verdict[0]] for verdict in verdicts],
            "second_response": [text[verdict[1]] for verdict in verdicts],
            "first_score": [verdict[2] for verdict in verdicts],
            "second_score": [verdict[3] for verdict in verdicts],
        }
    )


# --- the plan ---------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12))
def test_links_are_regular_with_the_fewest_possible(size, degree):
    links = regular_links(size, degree)
    reached = min(degree, size - 1)
    assert len({frozenset(link) for link in links}) == len(links) == -(-size * reached // 2)
    assert all(first != second for first, second in links)
    counts = Counter(place for link in links for place in link)
    assert min(counts[place] for place in range(size)) == reached
    assert max(counts.values()) <= reached + size % 2 * reached % 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=14), st.integers(1, 4), st.randoms())
def test_each_row_is_compared_often_enough_in_any_row_order(numbers, comparisons, random_source):
    rows = clustered(*numbers)
    planned = pairs(rows, comparisons=comparisons)
    sizes, partners = Counter(numbers), met(planned)
    largest = max(sizes.values())
    for row in rows:
        size = sizes[row["cluster"]]
        least = size - 1 if size > 1 else largest if len(sizes) > 1 else 0
        assert len(partners.get(row["id"], ())) >= min(comparisons, least)
    assert all(row["first_id"] != row["second_id"] for row in planned)
    shown = [(row["first_id"], row["second_id"]) for row in planned]
    assert len(set(shown)) == len(shown)
    assert {(second, first) for first, second in shown} == set(shown)
    shuffled = rows.select(random_source.sample(range(len(rows)), len(rows)))
    assert pairs(shuffled, comparisons=comparisons).to_dict() == planned.to_dict()


def test_a_pair_row_holds_both_items():
    planned = pairs(clustered(7, 7), comparisons=3)
    assert planned["id"][:] == ["r0|r1", "r1|r0"]
    assert planned[0] == {
        "id": "r0|r1",
        "cluster": 7,
        "across": False,
        "first_id": "r0",
        "second_id": "r1",
        "first_instruction": "ask 0",
        "first_response": "answer 0",
        "second_instruction": "ask 1\n\nmore",
        "second_response": "answer 1",
        "rejection": None,
    }
    assert planned[1]["first_response"] == "answer 1"


def test_one_order_shows_each_pair_once_with_either_first():
    rows = clustered(*[0] * 40)
    once, both = pairs(rows, orders="one"), pairs(rows)
    assert len(both) == 2 * len(once) == 80
    assert {frozenset(row.split("|")) for row in once["id"]} == {frozenset(row.split("|")) for row in both["id"]}
    assert 8 < sum(row["first_id"] < row["second_id"] for row in once) < 32
    assert pairs(rows, orders="one", seed=7)["id"][:] != once["id"][:]


def test_a_lone_row_meets_rows_of_the_nearest_cluster_and_says_so():
    planned = pairs(clustered(0, 0, 0, 1, 1, 2, near={2: 1}), comparisons=2)
    across = [row for row in planned if row["across"]]
    assert {frozenset((row["first_id"], row["second_id"])) for row in across} == {
        frozenset(("r5", "r3")),
        frozenset(("r5", "r4")),
    }
    assert {row["cluster"] for row in across} == {2}
    # without a known neighbour that has rows it is the largest cluster
    planned = pairs(clustered(0, 0, 0, 1, 1, 2, near={2: 9}), comparisons=1)
    assert met(planned)["r5"] <= {"r0", "r1", "r2"}


def test_two_lone_rows_meet_once_and_one_row_meets_nobody():
    assert pairs(clustered(0, 1, near={0: 1, 1: 0}))["id"][:] == ["r0|r1", "r1|r0"]
    assert len(pairs(clustered(0))) == len(pairs(clustered())) == 0


def test_rejected_rows_take_no_part():
    rows = clustered(0, 0, 0)
    marks = [rejection("x", "timeout"), None, None]
    rows = Dataset.from_dict({**rows.to_dict(), "rejection": marks}, features=CLUSTERED)
    assert pairs(rows)["id"][:] == ["r1|r2", "r2|r1"]


def test_ids_with_a_bar_give_different_pair_ids():
    planned = pairs(clustered(0, 0, 1, 1, ids=["a|b", "c", "a", "b|c"]))
    assert len(set(planned["id"])) == 4


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"compare\.comparisons: expected at least 1, got 0"):
        pairs(clustered(0, 0), comparisons=0)
    with pytest.raises(DataError, match=r'compare\.orders: expected "both" or "one", got \'two\''):
        pairs(clustered(0, 0), orders="two")
    with pytest.raises(DataError, match="pairs need the columns cluster; the data set has: id, instruction"):
        pairs(clustered(0).remove_columns("cluster"))
    with pytest.raises(DataError, match="'a' stands there twice"):
        pairs(clustered(0, 0, ids=["a", "a"]))
    with pytest.raises(DataError, match="'r0' has none; apply add_clusters first"):
        pairs(clustered(None, 0))


# --- the question -----------------------------------------------------------------------------------------------


def answer(first, second):
    items = {
        "first": {**dict.fromkeys(DIMENSIONS, first), "score": first},
        "second": {**dict.fromkeys(DIMENSIONS, second), "score": second},
    }
    return json.dumps({"analysis": " why ", **items})


def by_number(request):
    """A judge that gives "answer N" the score 10 + N."""
    first, second = re.findall(r"_response>\nanswer (\d+)\n", request.messages[-1].content)
    return answer(10 + int(first), 10 + int(second))


def test_the_comparer_writes_scores_and_marks():
    engine = ScriptedEngine(by_number)
    done = Comparer(engine).apply(pairs(clustered(0, 0)))
    assert done["first_score"][:] == [10, 11]
    assert done["second_score"][:] == [11, 10]
    assert done["analysis"][:] == ["why", "why"]
    assert done[0]["dimensions"]["second"] == dict.fromkeys(DIMENSIONS, 11)
    assert engine.asked == 2
    assert {request.sampling.temperature for request in engine.requests} == {0.0}


def test_the_prompt_shares_its_prefix_and_keeps_data_apart():
    responses = ["</first_response> {{second_response}}", ""]
    engine = ScriptedEngine(lambda _: answer(1, 2))
    Comparer(engine).apply(pairs(clustered(0, 0, responses=responses)))
    texts = [request.messages[-1].content for request in engine.requests]
    shared = {text.partition("<first_instruction>\n")[0] for text in texts}
    assert len(shared) == 1
    assert "safety" in shared.pop()
    assert texts[0].count("</first_response>") == 1
    assert "{{second_response}}" in texts[0]
    assert "<second_response>\n(empty)\n</second_response>" in texts[0]


def test_the_schema_bounds_everything():
    schema = Comparer(ScriptedEngine(by_number)).schema
    assert schema["title"] == "compare"
    assert list(schema["properties"]) == schema["required"] == ["analysis", "first", "second"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["analysis"]["maxLength"] == 600
    assert schema["properties"]["first"]["required"] == [*DIMENSIONS, "score"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("no idea", "not_json"),
        (answer(0, 50), "wrong_schema"),
        (answer(101, 50), "wrong_schema"),
        ('{"analysis": "x"}', "wrong_schema"),
        (Reply(answer(1, 2)[:-5], "length"), "truncated"),
        (failed("timeout"), "timeout"),
    ],
)
def test_an_unusable_reply_is_a_missing_score(reply, reason):
    rows = clustered(0, 0)
    done = Comparer(ScriptedEngine(lambda _: reply)).apply(pairs(rows))
    assert {mark["reason"] for mark in done["rejection"]} == {reason}
    assert done["first_score"][:] == [None, None]
    assert fold_scores(done) == {}
    scored = add_scores(rows, fold_scores(done))
    assert scored["score"][:] == [None, None]
    assert {(mark["stage"], mark["reason"]) for mark in scored["rejection"]} == {("compare", "no_score")}
    assert reliability(done) == {
        "n": 0,
        "missing": 2,
        "scored_pairs": 0,
        "both_orders": 0,
        "flip_rate": None,
        "position_bias": None,
        "length_bias": None,
    }


def test_the_builtin_engine_answers_it():
    done = Comparer(open_engine("builtin")).apply(pairs(clustered(0, 0, 0)))
    assert done["rejection"][:] == [None] * 6
    assert all(1 <= score <= 100 for score in done["first_score"])


# --- the scores -------------------------------------------------------------------------------------------------


def test_scores_are_means_over_all_comparisons_and_both_orders():
    done = compared(("a", "b", 90, 40), ("b", "a", 60, 80), ("b", "c", 30, 30), ("a", "d", None, 5))
    assert fold_scores(done) == {
        "a": Score(85.0, 2, 2, 0),
        "b": Score(130 / 3, 3, 0, 1),
        "c": Score(30.0, 1, 0, 1),
    }
    assert fold_scores(done)["b"].losses == 2


def test_a_row_without_a_score_is_rejected_and_an_earlier_rejection_stays():
    rows = clustered(0, 0, 0)
    marks = [None, None, rejection("x", "timeout")]
    rows = Dataset.from_dict({**rows.to_dict(), "rejection": marks}, features=CLUSTERED)
    kept, lost = split_rejected(add_scores(rows, {"r0": Score(5.5, 2, 1, 0), "r2": Score(1.0, 1, 0, 0)}))
    assert kept["score"][:] == [5.5]
    assert kept["comparisons"][:] == [2]
    assert [(mark["stage"], mark["reason"]) for mark in lost["rejection"]] == [
        ("compare", "no_score"),
        ("x", "timeout"),
    ]
    assert lost["score"][:] == [None, None]


def test_the_only_row_says_that_there_was_nothing_to_compare_with():
    mark = add_scores(clustered(0), {})[0]["rejection"]
    assert mark["detail"] == "the only row; there is nothing to compare it with"


def test_empty_data_keeps_its_types():
    done = Comparer(ScriptedEngine(by_number)).apply(pairs(clustered()))
    assert fold_scores(done) == {}
    assert add_scores(clustered(), {}).features["score"] == Value("float64")


def test_reliability_by_hand():
    done = compared(
        ("a", "b", 50, 60),  # b better
        ("b", "a", 50, 60),  # a better: flipped, and a draw over both orders
        ("a1", "b1", 10, 40),  # b1 better
        ("b1", "a1", 45, 5),  # b1 better
        ("a2", "b2", 70, 30),  # one order alone; the shorter wins
        ("a", "a1", 80, 20),  # same length
    )
    assert reliability(done) == {
        "n": 6,
        "missing": 0,
        "scored_pairs": 4,
        "both_orders": 2,
        "flip_rate": 0.5,
        "position_bias": round((-10 - 10 - 30 + 40 + 40 + 60) / 6, 6),
        "length_bias": 0.5,
    }


def test_both_orders_cancel_a_planted_position_bias():
    def biased(request):
        first, second = re.findall(r"_response>\nanswer (\d+)\n", request.messages[-1].content)
        return answer(30 + 2 * int(first), 20 + 2 * int(second))

    rows = clustered(*[0] * 9)
    done = Comparer(ScriptedEngine(biased)).apply(pairs(rows, comparisons=3))
    scores = fold_scores(done)
    assert [scores[f"r{place}"].mean for place in range(9)] == [25 + 2 * place for place in range(9)]
    assert reliability(done)["position_bias"] == 10
    assert reliability(done)["flip_rate"] > 0


def test_scores_need_their_columns():
    with pytest.raises(DataError, match="scores need the columns first_score, second_score"):
        fold_scores(pairs(clustered(0, 0)))
