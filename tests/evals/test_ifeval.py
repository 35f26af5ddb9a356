"""IFEval by the harness's checkers, offline."""

import json

import pytest

from tagevol_hf.errors import DataError
from tagevol_hf.evals.ifeval import TASK
from tagevol_hf.evals.result import result_of
from tagevol_hf.evals.task import Means

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.slow


def graded(name, arguments, output, prompt="Say something."):
    record = {"key": 1, "prompt": prompt, "instruction_id_list": [name], "kwargs": [arguments]}
    return TASK.grade(TASK.problems([record]), [None if output is None else (output,)], Means())[0]


CASES = [
    ("punctuation:no_comma", {}, "No commas here.", "One, two."),
    ("change_case:english_lowercase", {}, "all of this is small.", "Not all of this."),
    ("change_case:english_capital", {}, "ALL OF THIS IS LARGE.", "Not all of this."),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "A BC d.", "A b."),
    ("detectable_format:title", {}, "<<My title>>\nText.", "My title\nText."),
    ("detectable_format:json_format", {}, '{"a": 1}', "a: 1"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two", "* one"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*bold* text", "plain"),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "Dear [name]", "Dear you"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Text.\nP.S. More.", "Text."),
    ("keywords:existence", {"keywords": ["moon", "tide"]}, "The moon and the tide.", "The moon."),
    ("keywords:forbidden_words", {"forbidden_words": ["sun"]}, "The moon.", "The sun."),
    ("keywords:frequency", {"keyword": "moon", "frequency": 2, "relation": "at least"}, "moon moon", "moon"),
    ("keywords:letter_frequency", {"letter": "z", "let_frequency": 2, "let_relation": "at least"}, "zz", "z"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one"),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}, "A man.", "A man. Two. So."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a"),
    ("startend:quotation", {}, '"quoted"', "not quoted"),
    ("startend:end_checker", {"end_phrase": "That is all."}, "Text. That is all.", "Text."),
    ("combination:two_responses", {}, "one\n******\ntwo", "one"),
    ("language:response_language", {"language": "de"}, "Das ist ein Satz auf Deutsch.", "This is English."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_known_verdicts(name, arguments, good, bad):
    nulls = {"num_words_other": None}
    assert graded(name, arguments | nulls, good).verdict == "followed"
    wrong = graded(name, arguments, bad)
    assert (wrong.score, wrong.detail) == (0.0, f"not followed: {name}")
    assert wrong.parts["failed"] == []


def test_loose_forgives_a_line_before_and_asterisks():
    grade = graded("detectable_format:json_format", {}, 'Sure:\n{"a": 1}')
    assert (grade.score, grade.parts["loose"]) == (0.0, True)
    assert graded("detectable_format:json_format", {}, "").score == 0.0
    assert graded("detectable_format:json_format", {}, None).verdict == "missing"


def test_four_figures_and_what_stood_in():
    records = [
        {
            "key": 1,
            "prompt": "x",
            "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
            "kwargs": [{}, {}],
        },
        {"key": 2, "prompt": "x", "instruction_id_list": ["detectable_format:json_format"], "kwargs": [None]},
    ]
    outputs = [("no quotes",), ('Sure:\n{"a": 1}',)]
    result = result_of(TASK, TASK.grade(TASK.problems(records), outputs, Means()), {})
    found = result.summary
    assert (found["prompt_strict"], found["prompt_loose"], found["prompts"]) == (0.0, 0.5, 2)
    assert (found["instruction_strict"], found["instruction_loose"], found["instructions"]) == (1 / 3, 2 / 3, 3)
    assert found["by_type"]["punctuation"] == {"accuracy": 1.0, "n": 1}
    assert "punkt" in found["sentences"].lower()


def test_a_checker_that_raises_is_counted():
    grade = graded("length_constraints:number_words", {"num_words": "many", "relation": "at least"}, "one")
    assert grade.score == 0.0
    assert "TypeError" in grade.parts["failed"][0]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "x"}, "row 0: expected instruction_id_list and kwargs"),
        ({"prompt": "x", "instruction_id_list": ["a"], "kwargs": []}, "row 0: expected instruction_id_list and kwargs"),
        ({"prompt": "x", "instruction_id_list": [], "kwargs": []}, "row 0: instruction_id_list is empty"),
        ({"instruction_id_list": []}, "row 0: prompt: expected a text, found missing"),
    ],
)
def test_records_that_cannot_be_checked(record, message):
    with pytest.raises(DataError, match=message):
        TASK.problems([record])
    with pytest.raises(DataError, match="the harness has no checker for 'a:b'"):
        graded("a:b", {}, "x")


def test_all_prompts_of_the_benchmark_can_be_checked(data_file):
    with data_file("ifeval/ifeval.jsonl").open(encoding="utf-8") as file:
        problems = TASK.problems([json.loads(line) for line in file])
    assert len(problems) == 541
    result = result_of(TASK, TASK.grade(problems, [("I have no answer, sorry.",)] * 541, Means()), {})
    assert (result.n, result.summary["instructions"], result.summary["checker_failed"]) == (541, 834, 0)
    again = result_of(TASK, TASK.grade(problems[::-1], [("I have no answer, sorry.",)] * 541, Means()), {})
    assert (again.mean, again.summary) == (result.mean, result.summary)
