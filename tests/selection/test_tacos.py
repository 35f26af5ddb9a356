import json
import re

import pytest
from datasets import Dataset, Value
from scripted import ScriptedEngine

from tagevol_hf.engines.base import failed
from tagevol_hf.engines.open import open_engine
from tagevol_hf.rows import ROW_FEATURES, rejection
from tagevol_hf.selection.marks import DIMENSIONS
from tagevol_hf.selection.tacos import tacos

TOPICS = ("poem", "python", "algebra")


def rows(count, marks=(), text=None):
    return Dataset.from_dict(
        {
            "id": [f"r{place:02}" for place in range(count)],
            "instruction": [text or f"{TOPICS[place % 3]} {place}" for place in range(count)],
            "input": [""] * count,
            "response": [f"answer {place}" for place in range(count)],
            "history": [[] for _ in range(count)],
            "rejection": [rejection("load", "too_long") if place in marks else None for place in range(count)],
        },
        features=ROW_FEATURES,
    )


def judge(request):
    """Tags a query by its first word; scores "answer N" with 20 + N, in either place."""
    text = request.messages[-1].content
    if request.schema["title"] == "open_tags":
        topic = re.search(r"<query>\n(\w+)", text).group(1)
        return json.dumps({"tags": [{"tag": topic, "explanation": "it says so"}]})
    numbers = [20 + int(number) for number in re.findall(r"_response>\nanswer (\d+)\n", text)]
    items = [dict.fromkeys(DIMENSIONS, number) for number in numbers]
    return json.dumps({"analysis": "", "first": items[0], "second": items[1]})


def everything(result):
    parts = (result.selected, result.not_chosen, result.rejected)
    return sorted(row_id for part in parts for row_id in part["id"])


def test_the_best_answers_of_each_topic_are_selected():
    engine = ScriptedEngine(judge)
    result = tacos(rows(30), engine, n=6, k=3)
    assert result.selected["id"][:] == ["r24", "r25", "r26", "r27", "r28", "r29"]
    assert len(result.not_chosen) == 24
    assert len(result.rejected) == 0
    assert everything(result) == rows(30)["id"][:]
    assert result.normalizer.names == ["algebra", "poem", "python"]
    assert result.clusters.k == 3
    assert result.selected[0]["labels"] == ["poem"]
    assert result.selected[0]["score"] == 44.0
    assert result.reliability["flip_rate"] == 0
    # 30 rows are tagged; in each topic 10 rows meet 2 others, both orders
    assert engine.asked == 30 + len(result.comparisons) == 30 + 3 * 10 * 2


def test_row_order_does_not_matter():
    engine = open_engine("builtin")
    plain = tacos(rows(20), engine, n=7, k=3)
    shuffled = tacos(rows(20).shuffle(seed=5), engine, n=7, k=3)
    by_id = {row["id"]: row for row in plain.selected}
    assert {row["id"]: row for row in shuffled.selected} == by_id
    assert shuffled.reliability == plain.reliability


def test_rows_that_leave_at_any_step_are_accounted_for():
    def faulty(request):
        text = request.messages[-1].content
        if request.schema["title"] == "open_tags" and text.endswith("algebra 2\n</query>"):
            return "no JSON"
        if request.schema["title"] == "compare" and "answer 3\n" in text:
            return failed("timeout")
        return judge(request)

    result = tacos(rows(12, marks=(0,)), ScriptedEngine(faulty), n=4, k=2)
    reasons = {row["id"]: (row["rejection"]["stage"], row["rejection"]["reason"]) for row in result.rejected}
    assert reasons == {
        "r00": ("load", "too_long"),
        "r02": ("open_tags", "not_json"),
        "r03": ("compare", "no_score"),
    }
    assert len(result.selected) == 4
    assert everything(result) == rows(12)["id"][:]
    assert result.reliability["missing"] > 0


@pytest.mark.parametrize(
    ("dataset", "selected", "rejected"),
    [
        (rows(0), 0, 0),
        (rows(1), 0, 1),  # nothing to compare it with
        (rows(2), 2, 0),
        (rows(4, marks=(0, 1, 2, 3)), 0, 4),
        (rows(6, text="poem, the same text"), 4, 0),
    ],
    ids=["empty", "one row", "two lone rows", "all rejected", "equal texts"],
)
def test_small_and_odd_data(dataset, selected, rejected):
    result = tacos(dataset, ScriptedEngine(judge), n=4)
    assert (len(result.selected), len(result.rejected)) == (selected, rejected)
    assert everything(result) == dataset["id"][:]
    assert result.selected.features["score"] == Value("float64")


def test_an_engine_that_answers_nothing_useful_rejects_all_rows():
    result = tacos(rows(5), ScriptedEngine(lambda _: "?"), n=2)
    assert {row["rejection"]["reason"] for row in result.rejected} == {"not_json"}
    assert everything(result) == rows(5)["id"][:]


def test_more_than_there_is_takes_all():
    result = tacos(rows(6), ScriptedEngine(judge), n=50)
    assert len(result.selected) == 6
    assert result.selection.warning == "50 rows asked for, there are 6: all are taken"
