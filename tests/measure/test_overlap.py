"""Contamination of instructions by test sets."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.measure import Hit, contamination
from tagevol_hf.measure.words import bare_words, words

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
MATH, GSM8K = DATA / "math", DATA / "gsm8k"

DUCKS = "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning."


def test_eight_words_in_a_row_without_case_signs_and_digits():
    texts = ["Her DUCKS lay 24 eggs per day; she eats three!", "The ducks lay eggs per day, and she eats.", "Ducks."]
    found = contamination(texts, {"gsm8k": ["Another question.", DUCKS, DUCKS]})
    assert found.hits == (Hit(0, "gsm8k", 1, "ducks lay eggs per day she eats three"),)
    assert (found.rows, found.share, found.by_reference) == ([0], pytest.approx(1 / 3), {"gsm8k": 1})


def test_every_test_set_says_its_own_hit():
    found = contamination([DUCKS, DUCKS], {"b": [DUCKS], "a": ["x", DUCKS], "c": []})
    assert [(hit.row, hit.reference, hit.number) for hit in found.hits] == [
        (0, "a", 1), (0, "b", 0), (1, "a", 1), (1, "b", 0),
    ]  # fmt: skip
    assert (found.share, found.by_reference) == (1.0, {"a": 2, "b": 2})


def test_a_short_text_counts_as_a_whole_with_its_digits():
    texts = ["What is 5 + 7?", "what is 5 - 7", "What is 5 + 8?", "Tell me: what is 5 + 7?", "12", "?!"]
    found = contamination(texts, {"sums": ["Name it.", "What is 5 + 7?", "12", "?!"]})
    assert found.hits == (Hit(0, "sums", 1, "what is 5 7"), Hit(1, "sums", 1, "what is 5 7"))


def test_an_n_gram_does_not_cross_the_border_of_two_texts():
    assert not contamination(["a b c d"], {"r": ["x a b", "c d y"]}, n=4).hits
    assert not contamination(["a b", "c d"], {"r": ["a b c d"]}, n=4).hits
    assert contamination(["y a b c"], {"r": ["a b c x"]}, n=3).hits[0].words == "a b c"


def test_nothing_to_compare():
    empty = contamination([], {"r": [DUCKS]})
    assert (empty.share, empty.rows, empty.by_reference) == (0.0, [], {})
    assert contamination([DUCKS], {}).share == 0
    with pytest.raises(DataError, match=r"contamination\.n: expected at least 1 word, got 0"):
        contamination([DUCKS], {"r": []}, n=0)


def by_hand(texts, references, n):
    hits = []
    for row, text in enumerate(texts):
        own = bare_words(text)
        for name in sorted(references):
            split = [bare_words(other) for other in references[name]]
            grams = {}
            for number, other in enumerate(split):
                for start in range(len(other) - n + 1):
                    grams.setdefault(tuple(other[start : start + n]), number)
            wholes = {}
            for number, other in enumerate(split):
                if 0 < len(other) < n:
                    wholes.setdefault(" ".join(words(references[name][number])), number)
            found = next(
                (gram for start in range(len(own) - n + 1) if (gram := tuple(own[start : start + n])) in grams), None
            )
            if found:
                hits.append(Hit(row, name, grams[found], " ".join(found)))
            elif 0 < len(own) < n and " ".join(words(text)) in wholes:
                hits.append(Hit(row, name, wholes[" ".join(words(text))], " ".join(words(text))))
    return tuple(hits)


TEXT = st.lists(st.sampled_from(["a", "b", "c!", "d", "7", "我们"]), max_size=12).map(" ".join)


@given(
    st.lists(TEXT, max_size=6), st.dictionaries(st.sampled_from("xyz"), st.lists(TEXT, max_size=4)), st.integers(1, 5)
)
def test_the_same_as_comparing_everything_with_everything(texts, references, n):
    assert contamination(texts, references, n).hits == by_hand(texts, references, n)


@pytest.mark.skipif(not MATH.is_dir(), reason=f"needs {MATH} (TAGEVOL_TEST_DATA)")
def test_real_mathematics():
    test = [json.loads(line)["problem"] for line in (MATH / "math500_oai.jsonl").open(encoding="utf-8")]
    seeds = [json.loads(line)["problem"] for line in (MATH / "math_seed_2000.jsonl").open(encoding="utf-8")]
    assert contamination(test, {"math500": test}).share == 1
    found = contamination(seeds, {"math500": test})
    assert 0.10 < found.share < 0.18
    for hit in found.hits[:50]:
        assert hit.words in " ".join(bare_words(seeds[hit.row])) or hit.words == " ".join(words(seeds[hit.row]))
        assert hit.words in " ".join(bare_words(test[hit.number])) or hit.words == " ".join(words(test[hit.number]))


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"needs {GSM8K} (TAGEVOL_TEST_DATA)")
def test_many_real_rows_take_seconds():
    train, test = (
        [json.loads(line)["question"] for line in (GSM8K / f"{split}.jsonl").open(encoding="utf-8")]
        for split in ("train", "test")
    )
    found = contamination(train, {"gsm8k": test})
    assert 0.005 < found.share < 0.03
