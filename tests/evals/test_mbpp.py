"""MBPP: prompts, grades, and the reference answers."""

import gzip
import json

import pytest

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.evals import sandbox
from tagevol_hf.evals.mbpp import TASK
from tagevol_hf.evals.task import Means

RECORD = {
    "task_id": 11,
    "text": "Write a function to double a number.",
    "code": "def twice(x):\r\n  return 2 * x",
    "test_list": ["assert twice(2) == 4", "assert twice(0) == 0"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
RUN = Means(run_code=True, workers=2)


@pytest.fixture
def isolated():
    if sandbox.isolation().mode == "none":
        pytest.skip(f"nothing isolates here: {sandbox.isolation().refused}")


def graded(answer, **more):
    return TASK.grade(TASK.problems([{**RECORD, **more}]), [(answer,)], RUN)[0]


def test_the_prompt_has_the_text_and_the_tests():
    (problem,) = TASK.problems([RECORD])
    assert problem.id == "11"
    assert "Write a function to double a number." in problem.turns[0]
    assert "assert twice(2) == 4\nassert twice(0) == 0" in problem.turns[0]
    assert "2 * x" not in problem.turns[0]


def test_code_runs_only_when_asked():
    with pytest.raises(RecipeError, match=r"mbpp: .*--allow-code-execution"):
        TASK.grade(TASK.problems([RECORD]), [(RECORD["code"],)], Means())


@pytest.mark.parametrize(("name", "value"), [("text", None), ("test_list", []), ("test_list", [1]), ("task_id", None)])
def test_a_malformed_record_is_named(name, value):
    with pytest.raises(DataError, match=f"mbpp: row 1: {name}: "):
        TASK.problems([RECORD, {**RECORD, name: value}])


def test_grades(isolated):
    assert graded("```python\ndef twice(x):\n    return x + x\n```").verdict == "passed"
    assert graded(RECORD["code"]).score == 1.0
    wrong = graded("def twice(x):\n    return x * x + 1")
    assert (wrong.verdict, wrong.score) == ("failed", 0.0)
    assert "assert twice(2) == 4" in wrong.detail
    assert graded("def other(x):\n    return x").detail.startswith("NameError: name 'twice'")
    assert graded("It cannot be done.").verdict == "no code"
    assert graded("def twice(x):\n    return LIMIT * x", test_setup_code="LIMIT = 2").verdict == "passed"


def test_the_forms_of_the_sanitized_half_and_of_mbpp_plus(isolated):
    sanitized = {**RECORD, "prompt": RECORD["text"], "test_imports": ["import math"]}
    sanitized["test_list"] = ["assert math.isclose(twice(2), 4)"]
    del sanitized["text"]
    plus = {"task_id": "Mbpp/11", "prompt": f'"""\n{RECORD["text"]}\n"""\n', "assertion": "\nassert twice(2) == 4\n"}
    for record in (sanitized, plus):
        (problem,) = TASK.problems([record])
        assert "Task: Write a function to double a number.\n" in problem.turns[0]
        assert TASK.grade([problem], [(RECORD["code"],)], RUN)[0].verdict == "passed"


@pytest.mark.slow
def test_the_reference_answers_pass_but_for_two(data_file, isolated):
    rows = [json.loads(line) for line in data_file("mbpp/mbpp.jsonl").read_text(encoding="utf-8").splitlines()]
    found = TASK.grade(TASK.problems(rows), [(row["code"],) for row in rows], RUN)
    assert len(found) == 974
    assert {grade.id for grade in found if grade.verdict != "passed"} == {"367", "927"}  # as published


@pytest.mark.slow
def test_all_reference_answers_of_mbpp_plus_pass(data_file, isolated):
    with gzip.open(data_file("mbpp/MbppPlus.jsonl.gz"), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    found = TASK.grade(TASK.problems(rows), [(row["canonical_solution"],) for row in rows], RUN)
    assert [grade for grade in found if grade.verdict != "passed"] == []
