import json
import re

import pytest
from clustered_rows import answer, clustered
from scripted import ScriptedEngine

from tagevol_hf.engines.base import Reply, failed
from tagevol_hf.engines.open import open_engine
from tagevol_hf.selection.compare import Comparer
from tagevol_hf.selection.marks import DIMENSIONS
from tagevol_hf.selection.pairing import pairs
from tagevol_hf.selection.scores import add_scores, fold_scores


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
    assert schema["properties"]["first"]["required"] == list(DIMENSIONS)


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


def test_the_builtin_engine_answers_it():
    done = Comparer(open_engine("builtin")).apply(pairs(clustered(0, 0, 0)))
    assert done["rejection"][:] == [None] * 6
    assert all(1 <= score <= 100 for score in done["first_score"])


def test_all_dimensions_weigh_the_same():
    marks = {"first": dict(zip(DIMENSIONS, (10, 20, 30, 40, 50, 60, 71), strict=True)),
             "second": dict.fromkeys(DIMENSIONS, 7)}  # fmt: skip
    engine = ScriptedEngine(lambda _: json.dumps({"analysis": "", **marks}))
    done = Comparer(engine).apply(pairs(clustered(0, 0)))
    assert done["first_score"][:] == [pytest.approx(281 / 7, abs=1e-6)] * 2
    assert done["second_score"][:] == [7.0, 7.0]


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("The first is thin.\n[Response 1]: [42]\n[Response 2]: [77.5]", (42.0, 77.5)),
        ("8 9\nBoth are short.", (8.0, 9.0)),
    ],
)
def test_a_judge_that_answers_in_free_text_is_understood(reply, scores):
    done = Comparer(ScriptedEngine(lambda _: reply)).apply(pairs(clustered(0, 0), orders="one"))
    assert (done["first_score"][0], done["second_score"][0]) == scores
    assert done["analysis"][0] == reply
    assert done["rejection"][:] == [None]


def test_scores_in_free_text_keep_to_the_range():
    done = Comparer(ScriptedEngine(lambda _: "[Response 1]: [0]\n[Response 2]: [177]")).apply(pairs(clustered(0, 0)))
    assert {mark["reason"] for mark in done["rejection"]} == {"wrong_schema"}
    assert done["rejection"][0]["detail"] == "expected scores from 1 to 100, got 0 and 177"
