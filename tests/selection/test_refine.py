import json

import pytest
from clustered_rows import clustered
from scripted import ScriptedEngine

from tagevol_hf.engines.open import open_engine
from tagevol_hf.errors import DataError
from tagevol_hf.selection.refine import InstructionRefiner, ResponseRefiner, refine


def better(request):
    text = request.messages[-1].content
    part = request.schema["title"].removeprefix("refine_")
    if "ask 1" in text and part == "response":
        return "I cannot"
    if "ask 2" in text:
        return json.dumps({"faults": "none", part: " "})
    return json.dumps({"faults": " short ", part: f"better {part}"})


def refined(rows, engine):
    return refine(rows, ResponseRefiner(engine), InstructionRefiner(engine))


def test_the_response_then_the_instruction_are_rewritten_and_what_fails_stays():
    engine = ScriptedEngine(better)
    done = refined(clustered(0, 0, 0), engine)
    assert done["response"][:] == ["better response", "answer 1", "answer 2"]
    assert done["instruction"][:] == ["better instruction", "better instruction", "ask 2"]
    assert done["original_response"][:] == ["answer 0", "answer 1", "answer 2"]
    assert done["original_instruction"][:] == ["ask 0", "ask 1", "ask 2"]
    assert done["response_kept"][0] == ""
    assert done["response_kept"][1].startswith("not_json: ")
    assert done["response_kept"][2] == "empty_reply: the new response is empty"
    assert done["instruction_kept"][:] == ["", "", "empty_reply: the new instruction is empty"]
    assert done["response_faults"][:] == ["short", None, None]
    assert done["rejection"][:] == [None, None, None]
    assert done["input"][1] == "more"
    assert "refined_response" not in done.column_names
    shown = [request.messages[-1].content for request in engine.requests if "refine_instruction" in str(request.schema)]
    assert "better response" in shown[0]  # the instruction is fitted to the new response


def test_it_draws_as_the_paper_does():
    engine = ScriptedEngine(better)
    refined(clustered(0), engine)
    assert {(request.sampling.temperature, request.sampling.top_p) for request in engine.requests} == {(0.7, 0.8)}


def test_the_builtin_engine_answers_it():
    done = refined(clustered(0), open_engine("builtin"))
    assert "answer 0" in done["response"][0]
    assert done["response_kept"][:] == done["instruction_kept"][:] == [""]


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="refine_response needs the column response"):
        refined(clustered(0).remove_columns("response"), ScriptedEngine(better))


def test_an_empty_data_set_stays_empty():
    assert len(refined(clustered(), ScriptedEngine(better))) == 0
