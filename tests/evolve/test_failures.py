"""What an answer tells about its instruction."""

import pytest

from tagevol_hf.evolve.failures import FAILURES, failure_of


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("Understood. Shall I go on?", "stagnant_complexity"),
        ("Thank you for the task! What is next?", "stagnant_complexity"),
        ("What do you mean by that?", "stagnant_complexity"),
        ("That is correct, is it not?", "stagnant_complexity"),
        ("Great idea, how many rows?", "stagnant_complexity"),
        ("Sure, which list do you mean?", "insufficient_qualification"),
        ("I can do that. Please provide the text.", "loss_of_key_information"),
        ("Great circles are the shortest ways on a sphere.", None),
        ("Sure enough, the sum is 7.", None),
        ("Is it 7? It is 7.", None),
        ("Surely the answer is: why not?", None),
        ("", None),
    ],
)
def test_failures_show_in_the_answers(answer, failure):
    assert failure_of(answer) == failure
    assert failure is None or failure in FAILURES
