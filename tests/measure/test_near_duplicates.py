"""Rows that say nearly the same."""

import json
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.measure import find_near_duplicates, reject_near_duplicates
from tagevol_hf.measure.minhash import Shingles, bands
from tagevol_hf.measure.words import words
from tagevol_hf.rows import ROW_FEATURES, rejection, split_rejected

pytest.importorskip("rensa", reason="rensa is not installed")
DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
ALPACA = DATA / "alpaca52k" / "alpaca_data.json"

LONG = "Explain to a class of twelve pupils how the tides follow the moon and why there are two of them a day"


def rows(*texts, **columns):
    parts = [
        {"id": f"r{place}", "instruction": text, "input": "", "response": "", "history": [], "rejection": None}
        for place, text in enumerate(texts)
    ]
    for name, values in columns.items():
        for part, value in zip(parts, values, strict=True):
            part[name] = value
    added = [name for name in columns if name not in ROW_FEATURES]
    features = Features({**ROW_FEATURES, **{name: Value("float64") for name in added}})
    if not parts:
        return Dataset.from_dict({name: [] for name in features}, features=features)
    return Dataset.from_list(parts, features=features)


def pairs(dataset, **options):
    ids = dataset["id"][:]
    return {(ids[one.row], ids[one.kept]) for one in find_near_duplicates(dataset, **options).found}


def test_of_nearly_equal_rows_one_stays_and_the_others_name_it():
    dataset = rows(LONG, "Another.", LONG.upper() + "!", LONG + " please", response=["a", "b", "abc", "ab"])
    duplicates = find_near_duplicates(dataset)
    kept, lost = split_rejected(reject_near_duplicates(dataset, duplicates))
    assert kept["id"][:] == ["r1", "r2"]  # r2 has the longest response
    assert [row["rejection"]["detail"] for row in lost] == [
        "r2 is kept, similarity 1.00",
        "r2 is kept, similarity 0.95",
    ]
    assert {row["rejection"]["reason"] for row in lost} == {"near_duplicate"}
    assert duplicates.summary() == {
        "by": "minhash", "threshold": 0.8, "rows": 4, "duplicates": 2, "groups": 1, "largest_group": 3,
    }  # fmt: skip


def test_the_best_by_a_column_stays_and_a_missing_score_is_the_worst():
    dataset = rows(*[LONG] * 4, score=[1.0, None, 3.0, math.nan], response=["", "long", "", "longer"])
    assert pairs(dataset, best="score") == {("r0", "r2"), ("r1", "r2"), ("r3", "r2")}


def test_a_row_is_no_duplicate_of_one_that_leaves_itself():
    steps = [" ".join(LONG.split()[first : first + 16]) for first in range(6)]  # each like the next, not the one after
    dataset = rows(*steps, response=["x" * (9 - place) for place in range(6)])
    found = find_near_duplicates(dataset, threshold=0.85)
    gone = {one.row for one in found.found}
    assert gone == {1, 3, 5}
    assert not gone & {one.kept for one in found.found}


@pytest.mark.parametrize("by", ["minhash", "embedding"])
def test_rows_without_text_and_rejected_rows_are_left_alone(by):
    lost = rejection("load", "too_long")
    dataset = rows("", "", None, "  ", LONG, LONG, "?!", "?!", rejection=[None] * 4 + [lost, None, None, None])
    assert pairs(dataset, by=by) == {("r7", "r6")}
    assert find_near_duplicates(rows("", None)).found == ()


def test_short_texts_are_compared_as_a_whole_with_their_digits():
    dataset = rows("What is 5+7?", "what is 5 + 7", "What is 5+8?", "5+7", "Go", "go!", response=list("aaaaaa"))
    assert pairs(dataset) == {("r1", "r0"), ("r5", "r4")}


def test_text_without_blanks_is_compared_by_characters():
    first = "请写一篇关于春天的文章,描述花园里的花朵和天空中的小鸟,字数不少于三百字。"
    dataset = rows(first, first.replace("三", "五"), "请介绍一下中国的四大发明以及它们对世界历史的影响。")
    assert pairs(dataset) == {("r1", "r0")}


def test_equal_ids_and_very_long_rows():
    long = " ".join(random.Random(3).choices(LONG.split(), k=20_000))
    dataset = rows(LONG, LONG, long, long + " more", id=["same"] * 4)
    found = find_near_duplicates(dataset)
    assert sorted((one.row, one.kept) for one in found.found) == [(1, 0), (3, 2)]


def test_vectors_find_the_same_meaning_as_the_embedder_sees_it():
    dataset = rows("List three sweet fruits.", "list three sweet fruits", "Prove that primes never end.")
    found = find_near_duplicates(dataset, by="embedding", threshold=0.9)
    assert [(one.row, one.kept) for one in found.found] == [(1, 0)]
    assert found.how == "builtin-ngrams-2-4-512"


class Points:
    identity = "points"

    def encode(self, texts):
        angles = np.array([float(text.split()[0]) for text in texts], dtype=np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_vectors_are_compared_with_every_kept_row_whatever_the_block(monkeypatch):
    angles = [f"{place % 40 / 10} turn" for place in range(120)]
    dataset = rows(*angles, id=[f"{place:03}" for place in range(120)])
    whole = find_near_duplicates(dataset, by="embedding", threshold=0.999, embedder=Points())
    monkeypatch.setattr("tagevol_hf.measure.near_duplicates._BLOCK", 7)
    assert find_near_duplicates(dataset, by="embedding", threshold=0.999, embedder=Points()) == whole
    assert [(one.row, one.kept) for one in whole.found] == [(place, place % 40) for place in range(40, 120)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from(LONG.split()[:7]), max_size=9).map(" ".join), max_size=9), st.randoms())
def test_the_order_of_the_rows_has_no_say(texts, draw):
    dataset = rows(*texts, response=["x" * (len(text) % 3) for text in texts])
    order = list(range(len(texts)))
    draw.shuffle(order)
    assert pairs(dataset, threshold=0.4) == pairs(dataset.select(order), threshold=0.4)


def test_hardly_a_pair_at_the_threshold_is_missed():
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 0.99):
        assert (1 - threshold ** bands(threshold)) ** (128 // bands(threshold)) < 1e-4
    numbers, begins = Shingles(2).of(["a b a b", "", "a", "?!", "b a"])
    assert np.diff(begins).tolist() == [2, 0, 1, 1, 1]
    assert numbers[4] in numbers[:2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, r"expected a threshold in \(0, 1\] and n >= 1, got 0.0 and 3"),
        ({"n": 0}, "and n >= 1, got 0.8 and 0"),
        ({"best": "worth"}, "near_duplicates needs the column worth; the data set has: id"),
    ],
)
def test_what_cannot_be_is_told(options, message):
    with pytest.raises(DataError, match=message):
        find_near_duplicates(rows("x"), **options)


@pytest.mark.slow
@pytest.mark.skipif(not ALPACA.is_file(), reason=f"needs {ALPACA} (TAGEVOL_TEST_DATA)")
def test_the_same_as_comparing_everything_with_everything_on_real_rows():
    texts = [f"{row['instruction']}\n\n{row['input']}" for row in json.loads(ALPACA.read_text("utf-8"))[:3000]]
    draw = random.Random(5)
    for place in draw.sample(range(3000), 200):  # some near duplicates more
        own = texts[place].split(" ")
        own[draw.randrange(len(own))] = "changed"
        texts.append(" ".join(own))
    sets = [{tuple(own[at : at + 3]) for at in range(max(1, len(own) - 2))} for own in map(words, texts)]
    dataset = rows(*texts, id=[f"{place:05}" for place in range(len(texts))])
    kept, expected = [], {}
    for place, own in enumerate(sets):
        shares = [(len(own & sets[other]) / len(own | sets[other]), -other) for other in kept if own]
        best = max(shares, default=(0, 0))
        if best[0] >= 0.8:
            expected[place] = -best[1]
        else:
            kept.append(place)
    assert len(expected) > 15
    assert {one.row: one.kept for one in find_near_duplicates(dataset).found} == expected
