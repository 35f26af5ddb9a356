import pytest

from tagevol_hf.errors import ParseError
from tagevol_hf.selection.free_text import scores_in_text, verdict_in_text


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("8 9\nBoth are fine.", (8, 9)),
        ("\n  8.5, 9 \n", (8.5, 9)),
        ("(8, 9)", (8, 9)),
        ("**[8] [9.5]**\nwhy", (8, 9.5)),
        ("8/10 and 9/10", (8, 9)),
        ("Thin.\n[Response 1]: [85]\n[Response 2]: [90]", (85, 90)),
        ("[Response 2]: [90]\n[Response 1]: [85]", (85, 90)),
        ("**Response 1 Score:** 8\n**Response 2 Score:** 9", (8, 9)),
        ("Score of the Assistant 1: 9\nScore of the Assistant 2: 8.5", (9, 8.5)),
        ("Score of the Assistant 1: 9 Score of the Assistant 2: 8", (9, 8)),
        ("Assistant A: 7/10 (wrong)\nAssistant B: 5 - meagre", (7, 5)),
        ("Response A's overall score is 7 and Response B’s score is 8.", (7, 8)),
        ("Output (a): 3\nOutput (b): 4.", (3, 4)),
        ('{"analysis": "cut off", "first": 81, "second": 92,', (81, 92)),
        ('{"first_score": 40, "second_score": 50', (40, 50)),
        ('"score_1": 4, "score_2": 5', (4, 5)),
        ("Answer 1: 100 points. Answer 2: 0 points.", (100, 0)),
        ("In all, the scores are (1, 5) for Assistant 1 and Assistant 2.", (1, 5)),
        ("Assistant 1: 1 (no steps)\nAssistant 2: 7 (steps)\n\nOutput: (1, 7)", (1, 7)),
        ("8 9\nResponse 1 Score: 8, Response 2 Score: 9", (8, 9)),
        ("[Response 1]: [0]\n[Response 2]: [177]", (0, 177)),  # their range is the caller's business
    ],
)
def test_scores_in_the_forms_that_judges_use(text, scores):
    assert scores_in_text(text) == scores


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        "9",
        "8 9 10",
        "Response 1: 8",
        "Response 1: 3 errors were found\nResponse 2: 4 errors were found",
        "Response 1: 85%\nResponse 2: 30%",
        "Response 1: 1,000\nResponse 2: 2,000",
        "Assistant 1:\n1. The first step\nAssistant 2:\n2. The second",
        "There are 8 9-digit numbers",
        "f(2) = 39 and f(1) = 4",
    ],
)
def test_absent_scores_are_not_guessed(text):
    with pytest.raises(ParseError, match=r"no JSON, and no two scores") as fault:
        scores_in_text(text)
    assert fault.value.reason == "not_json"


@pytest.mark.parametrize(
    "text",
    [
        "Response 1: 8\nResponse 2: 9\nOn second thought:\nResponse 1: 7\nResponse 2: 9",
        "8 9\nSo Response 1 Score: 9, Response 2 Score: 8",
    ],
)
def test_scores_that_differ_are_ambiguous(text):
    with pytest.raises(ParseError, match=r"more than one couple of scores: .*8 9"):
        scores_in_text(text)


def test_long_text_is_read_quickly():
    assert scores_in_text("Response 1 " * 20000 + "\nResponse 1: 8\nResponse 2: 9") == (8, 9)
    with pytest.raises(ParseError):
        scores_in_text("1 " * 50000)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Output (a)", "first"),
        (' "Output (b)". ', "second"),
        ("Output (a) is short. Output (b) says all. Therefore, Output (b) is better.", "second"),
        ("**Output (a)** is the better one", "first"),
    ],
)
def test_verdicts(text, place):
    assert verdict_in_text(text) == place


@pytest.mark.parametrize(
    "text", ["", "5", "Output (a) and Output (b)", "Output (a) is better. No: Output (b) is better."]
)
def test_a_verdict_that_is_not_clear_is_not_made_up(text):
    with pytest.raises(ParseError, match="not_json: looked for"):
        verdict_in_text(text)
