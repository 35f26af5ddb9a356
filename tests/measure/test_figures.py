"""The parts of the measures, by values computed by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagevol_hf.measure import reply_obedience
from tagevol_hf.measure.lengths import lengths
from tagevol_hf.measure.obedience import is_obedient, obedience
from tagevol_hf.measure.repetition import repetition
from tagevol_hf.measure.spread import Directions, together
from tagevol_hf.measure.tagged import auto_evol_figures, ranked, tag_evol_figures
from tagevol_hf.tags.embed import NgramEmbedder


def test_tag_evol_5_5_difficulty_and_diversity():
    tags = [["algebra", "geometry"], ["algebra"], ["algebra", "Algebra", "sorting"]]
    assert tag_evol_figures(tags) == {"difficulty": 2.0, "diversity": 4.0, "tagged": 3.0}  # no normalisation
    assert tag_evol_figures([]) == {}


def test_auto_evol_5_5_averages_the_unique_tags():
    tags = [["algebra", "geometry"], ["algebra"], ["algebra", "sorting"]]
    found = auto_evol_figures(tags)
    assert found == {
        "auto_evol_complexity": pytest.approx(5 / 3),
        "auto_evol_diversity": 1.0,
        "auto_evol_tagged": 3.0,
    }


def test_the_sample_goes_by_id_and_seed_alone():
    ids = [f"row/{number}" for number in range(200)]
    order = [ids[place] for place in ranked(ids, 42)]
    backwards = ids[::-1]
    assert [backwards[place] for place in ranked(backwards, 42)] == order
    assert [ids[place] for place in ranked(ids, 43)] != order
    assert [name for name in order if name in set(ids[:50])] == [ids[place] for place in ranked(ids[:50], 42)]


def evolved(chosen, budget=2, own=("own",)):
    return {"budget": budget, "candidates": ["a", "b", "c", "own"], "chosen_tags": chosen, "seed_tags": list(own)}


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [(["a", "c"], True), (["a"], False), (["a", "a"], False), (["a", "b", "c"], False), (["a", "z"], False),
     (["a", "own"], False), (None, False)],
)  # fmt: skip
def test_obedience_is_exactly_b_different_foreign_candidates(chosen, kept):
    assert is_obedient(evolved(chosen)) is kept


def test_the_share_of_obedient_rows():
    rows = [evolved(["a", "b"]), evolved(["a"]), evolved(["b"], budget=1), evolved([], budget=None)]
    assert obedience(rows) == {"obedience": pytest.approx(2 / 3)}
    assert obedience([evolved([], budget=None)]) == {}


def test_the_share_of_obedient_replies_counts_all_that_can_be_read():
    redrawn = {"wrong_count": 3, "unchanged": 2, "not_json": 5}
    rejected = {"repeated_choice": 1, "refusal": 4, "truncated": 2, "too_few_candidates": 9}
    found = reply_obedience(10, redrawn, rejected)
    assert (found.kept, found.broken, found.unread) == (16, 4, 7)
    assert found.share == 0.8
    assert reply_obedience(0, {"not_json": 1}, {}).share is None


def test_repetition_is_the_share_of_n_grams_that_occurred_before():
    found = repetition(["Sort the list.", "Sort the list twice!", "the list"])
    # 2-grams: sort-the ×2, the-list ×3, list-twice: 6 in all, 3 different; 3-grams: sort-the-list ×2, the-list-twice
    assert found == {
        "repetition_2_grams": 0.5,
        "repetition_3_grams": pytest.approx(1 / 3),
        "repetition_4_grams": 0.0,
    }
    assert repetition(["one", "two"]) == {}
    assert repetition(["我喜欢", "我喜"]) == {"repetition_2_grams": pytest.approx(1 / 3), "repetition_3_grams": 0.0}


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=8))
def test_repetition_against_counting_one_by_one(texts):
    found = repetition(" ".join(words) for words in texts)
    for n in (2, 3, 4):
        grams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
        seen: set[tuple[str, ...]] = set()
        before = sum(gram in seen or seen.add(gram) is not None for gram in grams)
        assert found.get(f"repetition_{n}_grams") == (pytest.approx(before / len(grams)) if grams else None)


class Fixed:
    identity = "fixed"

    def __init__(self, **vectors):
        self.vectors = vectors

    def encode(self, texts):
        return np.array([self.vectors[text] for text in texts], dtype=np.float32)


def test_spread_is_the_mean_distance_of_all_pairs():
    embedder = Fixed(a=[1, 0], b=[0, 1], c=[-1, 0])
    found = Directions.of(["a", "b", "c"], embedder)
    assert found.spread == pytest.approx((1 + 2 + 1) / 3)
    assert Directions.of(["a", "a"], embedder).spread == 0
    assert Directions.of(["a"], embedder).spread is None
    assert Directions.of([], embedder).spread is None
    assert together([found, Directions.of([], embedder), Directions.of(["a"], embedder)]).spread == pytest.approx(
        (1 + 2 + 1 + 0 + 1 + 2) / 6
    )


def test_spread_against_all_pairs():
    texts = [f"Sort list {number} by {name}" for number in range(15) for name in ("size", "colour")]
    vectors = NgramEmbedder().encode(texts)
    pairs = [1 - float(vectors[i] @ vectors[j]) for i, j in itertools.combinations(range(len(texts)), 2)]
    assert Directions.of(texts, NgramEmbedder()).spread == pytest.approx(np.mean(pairs), abs=1e-6)


def test_lengths_and_growth():
    found = lengths(["a b c", "a b c d e", "a"], ["a", None, "a b"])
    assert found == {
        "words_mean": 3.0,
        "words_median": 3.0,
        "words_p5": pytest.approx(1.2),
        "words_p95": pytest.approx(4.8),
        "growth_mean": 0.5,
        "growth_median": 0.5,
        "growth_p95": pytest.approx(1.85),
    }
    assert "growth_mean" not in lengths(["a"], [None])
