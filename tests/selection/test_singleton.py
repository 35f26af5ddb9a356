import json

import pytest
from clustered_rows import clustered
from scripted import ScriptedEngine

from tagevol_hf.engines.open import open_engine
from tagevol_hf.selection.marks import DIMENSIONS
from tagevol_hf.selection.singleton import SingleScorer


def answer(mark):
    return json.dumps({"analysis": " thin ", "marks": dict.fromkeys(DIMENSIONS, mark)})


def test_each_response_is_judged_by_itself():
    engine = ScriptedEngine(lambda request: answer(20 if "answer 0" in request.messages[-1].content else 90))
    done = SingleScorer(engine).apply(clustered(0, 0))
    assert done["single_score"][:] == [20.0, 90.0]
    assert done["single_analysis"][:] == ["thin", "thin"]
    assert done["single_marks"][1] == dict.fromkeys(DIMENSIONS, 90)
    assert engine.asked == 2
    assert "ask 1\n\nmore" in engine.requests[1].messages[-1].content


@pytest.mark.parametrize(("reply", "reason"), [("9", "not_json"), (answer(0), "wrong_schema"), ("", "empty_reply")])
def test_an_unusable_reply_is_no_score(reply, reason):
    done = SingleScorer(ScriptedEngine(lambda _: reply)).apply(clustered(0))
    assert done["single_score"][:] == [None]
    assert done["rejection"][0]["reason"] == reason


def test_the_builtin_engine_answers_it():
    done = SingleScorer(open_engine("builtin")).apply(clustered(0, 0))
    assert done["rejection"][:] == [None, None]
    assert all(1 <= score <= 100 for score in done["single_score"])
