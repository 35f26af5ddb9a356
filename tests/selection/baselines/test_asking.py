"""The stages that grade and rate, with scripted replies and injected faults."""

import json

import pytest
from baseline_pools import build
from scripted import ScriptedEngine

from tagevol_hf.engines.base import Reply, failed
from tagevol_hf.rows import split_rejected
from tagevol_hf.selection.baselines import ComplexityRater, Grader, QualityRater, baseline, rate_for_deita


def text_of(request):
    return request.messages[-1].content


def grade(value):
    return json.dumps({"reason": " a  reason ", "grade": value})


@pytest.mark.parametrize("value", [0, 0.5, 4.5, 5, 5.0])
def test_grades_from_0_to_5_in_halves(value):
    engine = ScriptedEngine(lambda _: grade(value))
    done = Grader(engine).apply(build(2))
    assert done["grade"][:] == [float(value)] * 2
    assert done["grade_reason"][:] == ["a reason"] * 2
    assert done["rejection"][:] == [None, None]
    assert {request.sampling.temperature for request in engine.requests} == {0.0}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("4.5\nbecause", "not_json"),
        (grade(5.5), "wrong_schema"),
        (grade(-0.5), "wrong_schema"),
        (grade(4.7), "wrong_schema"),
        (grade("5"), "wrong_schema"),
        (grade(True), "wrong_schema"),
        ('{"grade": 4}', "wrong_schema"),
        ("", "empty_reply"),
        (Reply(grade(4)[:-3], "length"), "truncated"),
        (failed("timeout"), "timeout"),
    ],
)
def test_an_unusable_grade_is_asked_again_and_then_missing(reply, reason):
    engine = ScriptedEngine(lambda request: reply if "answer r1" in text_of(request) else grade(5))
    done, found = baseline("alpagasus", build(3), 3, engine=engine)
    assert engine.asked == 2 + (1 if reason == "timeout" else 3)  # the engine has tried again itself
    assert done["grade"][:] == [5.0, None, 5.0]
    assert [mark["reason"] if mark else None for mark in done["rejection"]] == [None, reason, None]
    assert [choice.id for choice in found.choices] == ["r0", "r2"]
    assert found.warning == "3 rows asked for, there are 2; rejected rows are left out: 1"
    assert len(split_rejected(done)[1]) == 1


def test_a_second_draw_is_used():
    replies = iter(["nothing", grade(3)])
    done = Grader(ScriptedEngine(lambda _: next(replies))).apply(build(1))
    assert done["grade"][:] == [3.0]


@pytest.mark.parametrize("stage", [Grader, ComplexityRater, QualityRater])
def test_prompts_share_their_start_and_keep_data_apart(stage):
    engine = ScriptedEngine(lambda _: "")
    rows = build(2, instruction=["</instruction> {{response}}", "ask"], response=["</response>", ""])
    stage(engine, attempts=1).apply(rows)
    texts = [text_of(request) for request in engine.requests]
    assert len({text.partition("<instruction>\n")[0] for text in texts}) == 1
    assert texts[0].count("</instruction>") == 1
    assert "{{response}}" in texts[0]
    if stage is not ComplexityRater:
        assert texts[0].count("</response>") == 1
        assert "<response>\n(empty)\n</response>" in texts[1]


def rating(request):
    """Complexity 1, 2, … by the row's number, quality 6; r1 has no quality."""
    name = request.schema["title"]
    number = int(text_of(request).partition("ask r")[2][0])
    if name == "quality":
        return '{"quality": 7}' if number == 1 else '{"quality": 6}'
    return json.dumps({"complexity": number + 1})


def test_deita_scores_by_an_engine():
    engine = ScriptedEngine(rating)
    done = rate_for_deita(build(3), engine)
    assert done["complexity"][:] == [1.0, 2.0, 3.0]
    assert done["quality"][:] == [6.0, None, 6.0]
    assert [mark["reason"] if mark else None for mark in done["rejection"]] == [None, "wrong_schema", None]
    assert engine.asked == 3 + 2 + 3


def test_one_call_asks_only_for_what_is_missing():
    engine = ScriptedEngine(rating)
    rows = build(3, quality=[1.0, 2.0, 3.0])
    done, found = baseline("deita", rows, 1, engine=engine)
    assert engine.asked == 3
    assert found.choices[0].id == "r2"
    assert found.choices[0].score == 9.0
    again, _ = baseline("deita", done, 1, engine=engine)
    assert engine.asked == 3
    assert again["complexity"][:] == done["complexity"][:]


def test_instag_tags_and_normalises_on_its_own():
    def tags(request):
        number = int(text_of(request).partition("ask r")[2][0])
        return json.dumps({"tags": [{"tag": f"topic {part}", "explanation": "x"} for part in range(number + 1)]})

    engine = ScriptedEngine(tags)
    done, found = baseline("instag", build(3), 1, engine=engine)
    assert engine.asked == 3
    assert {"open_tags", "labels"} < set(done.column_names)
    assert len(found.choices) == 1
    baseline("instag", done, 1)
    assert engine.asked == 3
