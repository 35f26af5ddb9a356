"""GSM8K: numbers however they are written."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.evals.gsm8k import TASK, value
from tagevol_hf.evals.task import Means


def graded(answer, *outputs):
    record = {"question": "How many?", "answer": f"Some steps. 3 + 4 = 7\n#### {answer}"}
    problems = TASK.problems([record] * len(outputs))
    return TASK.grade(problems, [(output,) for output in outputs], Means())


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        ("1,234", ["1234", "$1,234", "It costs $1,234.00.", "#### 1234", r"\boxed{1{,}234}"]),
        ("1234", ["The answer is 1,234 dollars."]),
        ("18", ["18%", r"\boxed{18\%}", "The answer is: 18", "**Answer:** 18", "so 20 - 2 = 18."]),
        ("18", [r"\boxed{18 \text{ eggs}}", r"\boxed{18\text{ eggs}}"]),
        ("-5", ["-5", "The answer is -5.", r"$\boxed{-5}$"]),
        ("0.5", ["1/2", r"\boxed{\frac{1}{2}}", ".5", "0.50", r"\dfrac{1}{2}"]),
        ("1.5", ["1 1/2", "The answer is 3/2"]),
        ("3000000", ["3 x 10^6", r"\boxed{3 \times 10^{6}}", "3e6"]),
        ("7", ["I counted 12 and then 5.\n#### 7", "The answer is 7 apples and not more", "答案是 7"]),
    ],
)
def test_the_same_number_however_it_is_written(answer, outputs):
    assert [grade.verdict for grade in graded(answer, *outputs)] == ["right"] * len(outputs)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["#### {}", r"\boxed{{{}}}", "The answer is {}.", "{}", "so ${}"]))
def test_another_number_is_wrong(number, words):
    right, wrong = graded(number, words.format(f"{number:,}"), words.format(f"{number + 1:,}"))
    assert (right.verdict, wrong.verdict) == ("right", "wrong")


@given(st.fractions(-1000, 1000, max_denominator=97))
def test_fractions(fraction):
    above, below = fraction.numerator, fraction.denominator
    assert value(f"{above}/{below}") == value(rf"\frac{{{above}}}{{{below}}}") == fraction


@given(st.text(max_size=200))
def test_any_text_gets_a_grade(text):
    assert graded("7", text)[0].score in (0.0, 1.0)


def test_no_number_is_no_answer():
    grades = graded("7", "", "I do not know.", "1/0", "9" * 100_000)
    assert [grade.verdict for grade in grades] == ["no answer"] * 4
    assert value("1 1/0") is None


def test_a_reference_without_a_number_is_refused():
    with pytest.raises(DataError, match="gsm8k: row 0: answer: expected a number behind ####, got 'none'"):
        TASK.problems([{"question": "x", "answer": "none"}])


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_reference_answers_are_right(data_file, name):
    with data_file(f"gsm8k/{name}.jsonl").open(encoding="utf-8") as file:
        problems = TASK.problems([json.loads(line) for line in file])
    grades = TASK.grade(problems, [(problem.record["answer"],) for problem in problems], Means())
    assert {grade.verdict for grade in grades} == {"right"}
    assert len(grades) == {"train": 7473, "test": 1319}[name]
    shifted = [(str(value(problem.record["answer"].rpartition("####")[2]) + Fraction(1, 4)),) for problem in problems]
    assert {grade.verdict for grade in TASK.grade(problems, shifted, Means())} == {"wrong"}
