"""HumanEval: prompts, grades, and the reference answers."""

import gzip
import json

import pytest

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.evals import sandbox
from tagevol_hf.evals.humaneval import TASK
from tagevol_hf.evals.task import Means

RECORD = {
    "task_id": "HumanEval/0",
    "prompt": 'def twice(x):\n    """Two times x.\n    >>> twice(2)\n    4\n    """\n',
    "entry_point": "twice",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n",
}
RUN = Means(run_code=True, workers=2)


@pytest.fixture
def isolated():
    if sandbox.isolation().mode == "none":
        pytest.skip(f"nothing isolates here: {sandbox.isolation().refused}")


def graded(*answers):
    problems = TASK.problems([{**RECORD, "task_id": f"HumanEval/{number}"} for number in range(len(answers))])
    return TASK.grade(problems, [None if answer is None else (answer,) for answer in answers], RUN)


def test_the_prompt_shows_the_function_and_not_the_answer():
    (problem,) = TASK.problems([RECORD])
    assert "def twice(x):" in problem.turns[0]
    assert ">>> twice(2)" in problem.turns[0]
    assert "2 * x" not in problem.turns[0]
    assert "candidate" not in problem.turns[0]


def test_code_runs_only_when_asked():
    with pytest.raises(RecipeError, match="--allow-code-execution"):
        TASK.grade(TASK.problems([RECORD]), [("    return 2 * x",)], Means())


def test_a_malformed_record_is_named():
    with pytest.raises(DataError, match="humaneval: row 1: test: expected a text, found missing"):
        TASK.problems([RECORD, {name: value for name, value in RECORD.items() if name != "test"}])


def test_grades(isolated):
    answers = [
        "    return 2 * x",
        "    return x + 1",
        None,
        "I cannot.",
        "    import os; os._exit(0)",
        "```python\ndef f(:\n```",
    ]
    found = graded(*answers)
    assert [grade.verdict for grade in found] == ["passed", "failed", "missing", "no code", "exited early", "error"]
    assert [grade.score for grade in found] == [1.0, 0.0, None, 0.0, 0.0, 0.0]
    assert "assert candidate(0) == 0" not in found[0].detail
    assert "check(twice)" in found[1].detail or "candidate" in found[1].detail
    summary = TASK.summary(found)
    assert summary["verdicts"] == dict.fromkeys(("passed", "failed", "missing", "no code", "exited early", "error"), 1)
    assert summary["isolation"] == sandbox.isolation().mode
    assert json.dumps(summary)


def records(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["HumanEval", "HumanEvalPlus"])
def test_all_reference_answers_pass(data_file, isolated, file):
    rows = records(data_file(f"humaneval/{file}.jsonl.gz"))
    found = TASK.grade(TASK.problems(rows), [(row["canonical_solution"],) for row in rows], RUN)
    assert [grade for grade in found if grade.verdict != "passed"] == []
    assert len(found) == 164


@pytest.mark.slow
def test_no_function_passes_by_leaving_out_its_body(data_file, isolated):
    rows = records(data_file("humaneval/HumanEval.jsonl.gz"))
    found = TASK.grade(TASK.problems(rows), [("    pass",) for _ in rows], RUN)
    assert sum(grade.score for grade in found) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", ["Sure:\n```python\n{}\n```\nDone.", "Here it is.\n\n{}\n\nThis does what was asked.\n"]
)
def test_all_reference_answers_pass_as_a_chat_model_writes_them(data_file, isolated, form):
    rows = records(data_file("humaneval/HumanEval.jsonl.gz"))
    answers = [(form.format(row["prompt"] + row["canonical_solution"]),) for row in rows]
    assert sum(grade.score for grade in TASK.grade(TASK.problems(rows), answers, RUN)) == 164
