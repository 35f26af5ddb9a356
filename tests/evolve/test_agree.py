"""Agreement of final answers with further draws."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine

from tagevol_hf.answers import equal
from tagevol_hf.answers.equal import Equality, number, plain
from tagevol_hf.answers.final import final_answer
from tagevol_hf.engines.base import Reply
from tagevol_hf.errors import DataError, MissingExtraError
from tagevol_hf.evolve.agree import agree
from tagevol_hf.evolve.respond import Responder
from tagevol_hf.rows import ROW_FEATURES, rejection

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
GSM8K = DATA / "gsm8k" / "test.jsonl"

pytest.importorskip("math_verify", reason="math_verify is not installed (extra eval)")


def answered(*responses, **changes):
    rows = [
        {"id": f"q{place}", "instruction": f"Question {place}?", "input": "", "response": text, "history": [],
         "rejection": None, **changes}
        for place, text in enumerate(responses)
    ]  # fmt: skip
    return Dataset.from_list(rows, features=ROW_FEATURES)


def agreed(own, further, attempts=1, **options):
    """The row after `agree`, where the further draws are these texts or replies, in turn."""
    replies = iter(further)
    engine = ScriptedEngine(lambda request: next(replies))
    row = agree(answered(own), Responder(engine, attempts=attempts), draws=len(further), **options)[0]
    assert engine.asked == len(further)
    return row


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"First \boxed{1}, then \boxed{\frac{a}{\sqrt{2}}}. The answer is 7.", r"\frac{a}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}} and one that is cut off: \boxed{3", r"\{1, 2\}"),
        (r"\boxed{} The answer is Monday.", "Monday"),
        ("2 + 3 = <<2+3=5>>5\n#### 5", "5"),
        ("#### 1,234 \nand the answer is 7", "1,234"),
        ("### Answer\n\n**42**", "42"),
        ("The answer is 3. No: the final answer is 4.5.", "4.5"),
        ("Answer: a total of 5 apples", "5"),
        ("The answer is $x=5$ because 2 < 3.", "x=5"),
        ("The answer is 2 hours and 30 minutes.", "2 hours and 30 minutes"),
        ("所以答案是 42。", "42"),
        ("He has 7 and pays 1,234.50 in all.", "1,234.50"),
        ("It is -3/4 of it", "-3/4"),
        ("I do not know.", None),
        ("", None),
    ],
)
def test_final_answers(text, found):
    assert final_answer(text) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1,000", "$1000.00", True),
        ("0.75", "3/4", True),
        ("12 apples", "12", True),
        (r"5\text{ cm}", "5", True),
        ("Monday", r"\text{monday}", True),
        ("-3", "3", False),
        ("2 hours and 30 minutes", "30 minutes", False),
        ("1/0", "0", False),
        (r"\frac{1}{2}", "0.5", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("x=5", "5", True),
        (r"\{1,2\}", "2, 1", True),
        ("5x", "5", False),
        (r"\begin{pmatrix} -\frac{1}{3} \\ 2 \end{pmatrix}", r"\begin{pmatrix} -1/3 \\ 2 \end{pmatrix}", True),
        (r"\frac{", r"\sqrt{", False),
    ],
)
def test_the_same_answer_in_other_words(one, other, same, equality):
    assert equality.same(one, other) is equality.same(other, one) is same


@pytest.fixture(scope="module")
def equality():
    with Equality() as equality:
        yield equality


def test_plain_numbers_start_no_process():
    with Equality() as equality:
        assert equality.groups(["5", "6", "5.0", "Monday", "6", "monday."]) == [0, 1, 0, 3, 1, 3]
        assert equality._worker is None


@pytest.mark.slow
def test_an_expression_without_end_costs_a_bounded_time_in_any_thread(monkeypatch):
    monkeypatch.setattr(equal, "_SECONDS", 1)
    found = []

    def compare():
        with Equality() as equality:
            start = time.monotonic()
            found.append(equality.same("9^{9^{9^{9^{9}}}}", "10^{10^{10^{10}}}+1"))
            found.append(time.monotonic() - start)
            found.append(equality.same(r"\frac{1}{2}", "0.5"))  # by a new process
            equality._worker.kill()
            found.append(equality.same(r"\frac{1}{3}", r"\frac{2}{6}"))  # it died before the question: undecided
            found.append(equality.same(r"\frac{1}{4}", r"\frac{2}{8}"))

    thread = threading.Thread(target=compare)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert [found[0], *found[2:]] == [False, True, False, True]
    assert found[1] < 30


def test_the_process_ends_with_its_owner():
    with Equality() as equality:
        equality.same(r"\frac{1}{2}", r"\frac{2}{4}")
        worker = equality._worker
        assert worker.poll() is None
    assert worker.returncode is not None


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.,/-+$€%\\{}() abxtext*boxedanswer:is#\n", max_size=60))
def test_no_response_breaks_the_reading(text):
    found = final_answer(text)
    assert found is None or found.strip() == found != ""
    assert plain(plain(text)) is not None
    number(plain(text))


def test_a_row_that_most_draws_support_stays():
    row = agreed("so #### 18", ["The answer is 18.", r"\boxed{18.0}", "#### 20", "I think 18"])
    assert (row["final_answer"], row["agreement"], row["agreement_draws"]) == ("18", 0.8, 5)
    assert row["rejection"] is None
    assert (row["id"], row["response"]) == ("q0", "so #### 18")


def test_a_row_with_too_small_a_share_leaves():
    row = agreed("#### 18", ["#### 18", "#### 1", "#### 2", "no answer here"])
    assert row["agreement"] == 0.4
    assert row["rejection"] == {
        "stage": "agree",
        "reason": "no_agreement",
        "detail": "2 of 5 responses end in '18', at least 0.5 of them are needed",
        "raw": "",
        "attempts": 4,
    }
    assert agreed("#### 18", ["#### 18", "#### 1", "#### 2", "#### 3"], least=0.4)["rejection"] is None


def test_a_row_leaves_where_another_answer_is_more_frequent_whatever_the_least():
    row = agreed("#### 18", ["#### 20", "#### 20", "#### 18", "#### 20"], least=0)
    assert row["agreement"] == 0.4
    assert row["rejection"]["detail"] == "2 of 5 responses end in '18', 3 in '20'"
    assert agreed("#### 18", ["#### 20"], least=0.5)["rejection"] is None  # as frequent is not more frequent


def test_draws_that_failed_do_not_count_and_are_told():
    cut, late = Reply("#### 1", "length"), Reply("", "error", reason="timeout")
    row = agreed("#### 18", ["#### 18", cut, late, "#### 18"])
    assert (row["agreement"], row["agreement_draws"], row["rejection"]) == (1.0, 3, None)
    row = agreed("#### 18", [cut, cut, late, "#### 3", "#### 3"])
    assert row["rejection"]["detail"] == (
        "1 of 3 responses end in '18', 2 in '3'; draws that failed: timeout 1, truncated 2"
    )


def test_a_row_that_cannot_be_compared_leaves_with_a_null_agreement():
    row = agreed("I do not know.", ["#### 18", "#### 18"])
    assert (row["final_answer"], row["agreement"], row["agreement_draws"]) == (None, None, 3)
    assert row["rejection"]["detail"] == "the response has no final answer"
    row = agreed("#### 18", [Reply("", "length")] * 2)
    assert (row["final_answer"], row["agreement"], row["agreement_draws"]) == ("18", None, 1)
    assert row["rejection"]["detail"] == "no further draw could be used; draws that failed: truncated 2"


def test_each_draw_is_a_request_of_its_own_at_the_temperature():
    engine = ScriptedEngine(lambda request: "#### 5")
    agree(answered("#### 5", "#### 6"), Responder(engine), draws=3, temperature=0.9)
    assert {request.sampling.temperature for request in engine.requests} == {0.9}
    assert len({request.sampling.seed for request in engine.requests}) == 6


def test_rejected_rows_pass_unasked_and_every_row_stays():
    rows = answered("#### 5", "#### 6", "#### 5").to_list()
    rows[1]["rejection"] = rejection("respond", "truncated")
    engine = ScriptedEngine(lambda request: "#### 5")
    done = agree(Dataset.from_list(rows, features=ROW_FEATURES), Responder(engine), draws=2)
    assert engine.asked == 4
    assert done["id"][:] == ["q0", "q1", "q2"]
    assert [row["rejection"] and row["rejection"]["reason"] for row in done] == [None, "truncated", None]
    assert done["agreement"][:] == [1.0, None, 1.0]
    empty = agree(answered("x").select([]), Responder(engine))
    assert (len(empty), empty.features["agreement"].dtype) == (0, "float64")


def test_the_result_does_not_depend_on_the_order_of_the_rows():
    def reply(request):
        return f"#### {request.sampling.seed % 3}"

    data = answered(*(f"#### {place % 3}" for place in range(12)))
    backwards = data.select(range(11, -1, -1))
    first, second = (agree(rows, Responder(ScriptedEngine(reply))) for rows in (data, backwards))
    assert {row["id"]: row for row in first} == {row["id"]: row for row in second}
    assert len(set(first["agreement"])) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "agree.draws: expected at least 1, got 0"),
        ({"temperature": 0}, "agree.temperature: expected above 0"),
        ({"least": 1.5}, "agree.least: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(DataError, match=message):
        agree(answered("#### 1"), Responder(ScriptedEngine(lambda request: "")), **options)


def test_rows_without_responses():
    data = answered("x").remove_columns("response")
    with pytest.raises(DataError, match=r"agree needs the column response; the data set has: id, .*; apply Responder"):
        agree(data, Responder(ScriptedEngine(lambda request: "")))


def test_without_math_verify_the_message_names_the_extra_and_nothing_is_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    engine = ScriptedEngine(lambda request: "")
    with pytest.raises(MissingExtraError, match=r"math_verify is not installed.*tagevol_hf\[eval\]"):
        agree(answered("#### 1"), Responder(engine))
    assert engine.asked == 0


def test_the_algebra_process_answers_line_by_line_and_ends_with_its_input():
    code = "from tagevol_hf.answers.worker import main; main(5)"
    pairs = [[r"\sqrt{8}", r"2\sqrt{2}"], ["x+1", "x+2"], ["((((", "1"]]
    text = "".join(f"{json.dumps(pair)}\n" for pair in pairs)
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.returncode) == (["true", "false", "false"], 0)


@pytest.mark.skipif(not GSM8K.is_file(), reason=f"needs {GSM8K} (TAGEVOL_TEST_DATA)")
def test_real_answers_of_gsm8k():
    texts = [json.loads(line)["answer"] for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    truth = [text.rsplit("####", 1)[1].strip() for text in texts]
    assert [final_answer(text) for text in texts] == truth
    said = [f"Step by step, we see 3 things.\nThe final answer is ${value}." for value in truth[:300]]
    replies = [
        f"{said[place]} Thus \\boxed{{{int(value.replace(',', ''))}}}" for place, value in enumerate(truth[:300])
    ]
    engine = ScriptedEngine(lambda request: replies[engine.asked - 1])
    done = agree(answered(*texts[:300]), Responder(engine), draws=1)
    assert set(done["agreement"]) == {1.0}
    assert done["final_answer"][:] == truth[:300]
