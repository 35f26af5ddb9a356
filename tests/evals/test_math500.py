"""MATH-500: answers, the two rules, and the recorded outputs of four models."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.answers.math_string import same_string
from tagevol_hf.errors import DataError
from tagevol_hf.evals.math500 import TASK
from tagevol_hf.evals.result import result_of
from tagevol_hf.evals.task import Means


def record(answer, **more):
    return {"problem": "What is it?", "answer": answer, **more}


def graded(answer, output, **more):
    problems = TASK.problems([record(answer, **more)])
    return TASK.grade(problems, [None if output is None else (output,)], Means())[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"\frac12", r"\dfrac{1}{2}", True),
        ("0.5", r"\frac{1}{2}", True),
        ("1/2", r"\frac{1}{2}", True),
        (r"\frac{a}2", r"\frac{a}{2}", True),
        (r"\sqrt3", r"\sqrt{3}", True),
        (".5x", "0.5x", True),
        ("x=5", "5", True),
        ("x=y=5", "5", False),
        ("90^\\circ", "90", True),
        (r"\$5", "5", True),
        (r"50\%", "50", True),
        (r"5\text{ cm}", "5", True),
        (r"\left(1, 2\right)", "(1,2)", True),
        (r"10,\!080", "10,080", True),
        (r"\text{Evelyn}", "Evelyn", False),
        ("0.25", r"\frac{1}{4}", False),
        (r"\leftarrow", "arrow", False),
        ("", "0", False),
    ],
)
def test_the_rule_of_strings(one, other, same):
    assert same_string(one, other) is same


@given(st.text(max_size=60) | st.text(alphabet="\\{}frac12x=/. ^$%sqrt", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_and_spacing_says_nothing(text):
    assert same_string(f"{text}.", f"{text}.\\!")


def test_both_rules_stand_beside_each_other():
    right = graded("5", r"So it is $\boxed{5}$.", subject="Algebra", level=2)
    assert (right.score, right.verdict) == (1.0, "right")
    assert dict(right.parts) == {"algebra": 1, "subject": "Algebra", "level": 2}
    doubt = graded(r"\frac{1}{4}", r"\boxed{0.25}")
    assert (doubt.score, doubt.parts["algebra"]) == (0.0, 1)
    assert doubt.parts["disagree"] == "by algebra the same, not as strings"
    assert doubt.detail == r"expected \frac{1}{4}, got 0.25"
    assert graded("6", r"\boxed{5}").verdict == "wrong"
    assert graded("6", "I do not know.").verdict == "no answer"
    assert graded("6", None).verdict == "missing"


def test_figures_by_subject_and_level():
    problems = TASK.problems([record("1", subject="A", level=1), record("1", subject="B", level=1)])
    result = result_of(TASK, TASK.grade(problems, [(r"\boxed{1}",), (r"\boxed{2}",)], Means()), {})
    assert result.summary["by_subject"] == {"A": {"accuracy": 1.0, "n": 1}, "B": {"accuracy": 0.0, "n": 1}}
    assert result.summary["by_level"] == {"1": {"accuracy": 0.5, "n": 2}}
    assert result.summary["accuracy_by_algebra"] == 0.5


@pytest.mark.parametrize(
    "output",
    ["", "{" * 100_000, r"\boxed{" * 2_000, "9" * 100_000, r"\boxed{" + "(" * 50_000 + "}", "\ud800", "#### " * 9999],
)
def test_hostile_outputs_get_a_grade(output):
    assert graded("6", output).score == 0.0


@pytest.mark.slow
def test_towers_of_powers_end():
    grade = graded("6", r"\boxed{9^{9^{9^{9^{9}}}}}")
    assert grade.score == 0.0


def test_a_record_without_an_answer_is_refused():
    with pytest.raises(DataError, match="math500: row 1: answer: expected a text, found missing; the row has: problem"):
        TASK.problems([record("1"), {"problem": "x"}])


@pytest.mark.slow
def test_four_recorded_runs_get_their_official_scores(data_file, tmp_path):
    with data_file("math/math500_oai.jsonl").open(encoding="utf-8") as file:
        problems = TASK.problems([json.loads(line) for line in file])
    with gzip.open(data_file("math/math500_outputs_4runs.jsonl.gz"), "rt", encoding="utf-8") as file:
        runs = [json.loads(line) for line in file]
    assert (len(problems), len(runs)) == (500, 4)
    differences, doubts = [], 0
    for run in runs:
        result = result_of(TASK, TASK.grade(problems, [(text,) for text in run["outputs"]], Means()), {})
        assert (result.n, result.n_expected) == (500, 500)
        differences.append(100 * abs(result.mean - run["official_score"]))
        doubts += result.summary["rules_disagree"]
        listed = result.save(tmp_path).with_name("math500-disagreements.txt").read_text("utf-8")
        assert listed.count("expected ") == result.summary["rules_disagree"]
    assert max(differences) < 0.6
    assert sum(differences) / 4 < 0.4
    assert 0 < doubts < 100
