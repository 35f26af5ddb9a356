import os
import random
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.rows import rejection
from tagevol_hf.tags.normalize import Normalization, TagNormalizer
from tagevol_hf.tags.pool import TagPool
from tagevol_hf.tags.taggers import ASPECTS

ROWS = [
    {"aspects": [{"aspect": "skill", "tags": ["sql", "joins"]}, {"aspect": "field", "tags": ["retail"]}]},
    {"aspects": [{"aspect": "field", "tags": ["sql"]}]},
    {"aspects": None},
]
GSM8K = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "gsm8k"


def tagged(**rows):
    """A pool of rows by id, each {aspect: tags}."""
    return [
        {"id": row_id, "aspects": [{"aspect": aspect, "tags": tags} for aspect, tags in aspects.items()]}
        for row_id, aspects in rows.items()
    ]


MATH = tagged(m1={"skill": ["algebra", "ratios"], "field": ["ratios", "money"]}, m2={"skill": ["algebra"]})
CODE = tagged(c1={"skill": ["sql"], "field": ["money"]}, m1={"skill": ["loops"]})


def test_counts_by_tag_and_aspect_whatever_the_order():
    pool = TagPool.from_rows(ROWS)
    assert pool.aspects == {"joins": {"skill": 1}, "retail": {"field": 1}, "sql": {"field": 1, "skill": 1}}
    assert (len(pool), pool.count("sql"), pool.count("none")) == (3, 2, 0)
    assert TagPool.from_rows(reversed(ROWS)) == pool


def test_a_row_counts_once_for_a_tag_however_many_aspects_it_has():
    pool = TagPool.from_rows(MATH, "math")
    assert pool.aspects["ratios"] == {"field": 1, "skill": 1}
    assert (pool.count("ratios"), pool.count("algebra")) == (1, 2)
    assert pool.seeds("algebra") == [("math", "m1"), ("math", "m2")]
    assert (pool.seeds("ratios"), pool.seeds("none")) == ([("math", "m1")], [])
    assert pool.row_sizes == [3, 1]
    assert "algebra" in pool
    assert "none" not in pool


def test_what_it_says_of_itself():
    pool = TagPool.from_rows(MATH, "math")
    assert pool.summary() == {"tags": 3, "aspects": 2, "seed_rows": 2, "sources": {"math": 3}}
    assert repr(pool) == "TagPool(tags=3, aspects=2, seed_rows=2, sources={'math': 3})"
    assert repr(pool.sources) == "{'algebra': {'math': 2}, 'money': {'math': 1}, 'ratios': {'math': 1}}"


def test_counts_without_rows_have_no_seeds():
    pool = TagPool({"b": {"x": 2, "y": 1}, "a": {"x": 1}}, source="list")
    assert pool.tags == ["a", "b"]
    assert pool.sources == {"a": {"list": 1}, "b": {"list": 3}}
    assert (pool.count("b"), pool.seeds("b"), pool.row_sizes) == (3, [], [])
    with pytest.raises(KeyError):
        pool.aspects["c"]


def test_rejected_rows_do_not_count():
    mark = rejection("aspect_tags", "no_tags")
    assert TagPool.from_rows([{**MATH[0], "rejection": mark}, {**MATH[1], "rejection": None}]).tags == ["algebra"]


def test_a_data_set_without_tags():
    with pytest.raises(DataError, match="needs the column aspects; the data set has: x; apply AspectTagger first"):
        TagPool.from_dataset(Dataset.from_dict({"x": [1]}))
    with pytest.raises(DataError, match="needs at least one tag; no row of the data set has one"):
        TagPool.from_dataset(Dataset.from_dict({"aspects": [None, []]}).cast_column("aspects", ASPECTS["aspects"]))


def test_merged_pools_keep_their_sources():
    math, code = TagPool.from_rows(MATH, "math"), TagPool.from_rows(CODE, "code")
    both = TagPool.merge([math, code])
    assert both.sources["money"] == {"code": 1, "math": 1}
    assert both.seeds("money") == [("code", "c1"), ("math", "m1")]
    assert both.summary()["sources"] == {"code": 3, "math": 3}
    assert TagPool.merge([code, math]) == both
    assert TagPool.merge([both, math]) == both  # a row that is there twice counts once
    assert (both.keep(sources=["math"]), both.keep(sources=["code"])) == (math, code)


def test_merged_halves_are_the_whole():
    assert TagPool.merge([TagPool.from_rows(MATH[:1], "m"), TagPool.from_rows(MATH[1:], "m")]) == TagPool.from_rows(
        MATH, "m"
    )


def test_rows_without_ids_are_added_up():
    assert TagPool.merge([TagPool({"a": {"x": 1}}), TagPool({"a": {"x": 2, "y": 1}})]) == TagPool(
        {"a": {"x": 3, "y": 1}}
    )
    assert len(TagPool.merge([])) == 0


def test_a_part_of_the_tags():
    pool = TagPool.merge([TagPool.from_rows(MATH, "math"), TagPool.from_rows(CODE, "code")])
    assert pool.keep() == pool
    assert pool.keep(least=2).tags == ["algebra", "money"]
    assert pool.keep(aspects=["field"]).aspects == {"money": {"field": 2}, "ratios": {"field": 1}}
    assert pool.keep(least=2, sources=["math"]).tags == ["algebra"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ["maths"]}, "it has no source 'maths'; it has: 'code', 'math'"),
        ({"aspects": ["topic"]}, "it has no aspect 'topic'; it has: 'field', 'skill'"),
        ({"least": 9}, "none of its 5 tags has at least 9 rows; choose fewer"),
        ({"least": 2, "aspects": ["skill"], "sources": ["code"]}, "at least 2 rows of these sources and aspects"),
    ],
)
def test_a_part_that_is_not_there(options, message):
    pool = TagPool.merge([TagPool.from_rows(MATH, "math"), TagPool.from_rows(CODE, "code")])
    with pytest.raises(DataError, match=f"^tag pool: .*{message}"):
        pool.keep(**options)


def test_near_duplicates_go_under_one_name():
    rows = tagged(
        a={"x": ["prime number", "prime numbers"]}, b={"y": ["prime-numbers", "rare"]}, c={"x": ["prime numbers"]}
    )
    pool = TagPool.from_rows(rows, "s")
    normalizer = TagNormalizer.from_counts(
        {tag: pool.count(tag) for tag in pool.tags}, rows=3, settings=Normalization(alpha=2)
    )
    merged = pool.normalized(normalizer)
    assert merged.aspects == {"prime numbers": {"x": 2, "y": 1}, "rare": {"y": 1}}
    assert (merged.count("prime numbers"), merged.row_sizes) == (3, [1, 2, 1])
    assert merged.normalized(normalizer) == merged
    assert len(pool) == 4


def test_draws_are_uniform_over_the_foreign_tags():
    pool = TagPool({f"t{number}": {"a": number + 1} for number in range(10)})
    drawn = Counter()
    for seed in range(3000):
        tags = pool.draw(3, {"t2", "t7", "unknown"}, random.Random(seed))
        assert len(set(tags)) == 3
        assert tags == pool.draw(3, ["t7", "t2"], random.Random(seed), pool.tags)
        drawn.update(tags)
    assert set(drawn) == {f"t{number}" for number in range(10)} - {"t2", "t7"}
    assert all(abs(count / 3000 - 3 / 8) < 0.04 for count in drawn.values())


def test_a_small_pool_gives_what_it_has():
    pool = TagPool({"a": {"x": 1}, "b": {"x": 1}})
    assert pool.draw(21, ["a"], random.Random(1)) == ["b"]
    assert pool.draw(21, ["a", "b"], random.Random(1)) == []
    assert pool.draw(21, ["z"], random.Random(1), ["y", "z"]) == ["y"]


names = st.sampled_from(["a", "b", "b b", "ä", "7", "🦊"])
rows_of_tags = st.lists(st.dictionaries(names, st.lists(names, max_size=4), max_size=3), max_size=8)


@settings(max_examples=150, deadline=None)
@given(rows_of_tags, st.randoms(use_true_random=False), st.integers(0, 8), st.integers(1, 3))
def test_the_table_says_what_plain_counting_says(given_rows, shuffler, cut, least):
    rows = tagged(**{f"r{number}": aspects for number, aspects in enumerate(given_rows)})
    pool = TagPool.from_rows(rows, "s")
    held = {row["id"]: {tag for part in row["aspects"] for tag in part["tags"]} for row in rows}
    counts = Counter(tag for tags in held.values() for tag in tags)
    under = Counter((tag, part["aspect"]) for row in rows for part in row["aspects"] for tag in set(part["tags"]))
    assert {tag: pool.count(tag) for tag in pool.tags} == counts
    assert {(tag, aspect): n for tag, found in pool.aspects.items() for aspect, n in found.items()} == under
    assert pool.row_sizes == [len(held[key]) for key in sorted(held) if held[key]]
    assert all([row_id for _, row_id in pool.seeds(tag)] == sorted(k for k in held if tag in held[k]) for tag in counts)
    shuffler.shuffle(rows)
    assert TagPool.merge([TagPool.from_rows(rows[:cut], "s"), TagPool.from_rows(rows[cut:], "s")]) == pool
    if often := sorted(tag for tag, count in counts.items() if count >= least):
        assert pool.keep(least=least).tags == often


@pytest.mark.slow
def test_gsm8k_builds_at_once_and_stays_small():
    if not (GSM8K / "train.jsonl").is_file():
        pytest.skip(f"{GSM8K / 'train.jsonl'} is not there")
    questions = Dataset.from_json(str(GSM8K / "train.jsonl"), keep_in_memory=True)["question"]
    words = [question.lower().split() for question in questions]
    lists = [[" ".join(found[at : at + 2]) for at in range(0, 20, 2)] for found in words]
    aspects = [[{"aspect": "first", "tags": tags[:5]}, {"aspect": "second", "tags": tags[5:]}] for tags in lists]
    data = Dataset.from_dict({"id": [str(number) for number in range(len(lists))], "aspects": aspects})
    begin = time.perf_counter()
    pool = TagPool.from_dataset(data, "gsm8k")
    assert time.perf_counter() - begin < 5
    assert (pool.summary()["seed_rows"], len(pool)) == (7473, len({tag for tags in lists for tag in tags}))
    tracemalloc.start()
    again = TagPool.from_dataset(data, "gsm8k")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again == pool
    assert held < 12e6
