import random
from collections import Counter

import pytest
from datasets import Dataset

from tagevol_hf.errors import DataError
from tagevol_hf.tags.pool import TagPool

ROWS = [
    {"aspects": [{"aspect": "skill", "tags": ["sql", "joins"]}, {"aspect": "field", "tags": ["retail"]}]},
    {"aspects": [{"aspect": "field", "tags": ["sql"]}]},
    {"aspects": None},
]


def test_counts_by_tag_and_aspect_whatever_the_order():
    pool = TagPool.from_rows(ROWS)
    assert pool.aspects == {"joins": {"skill": 1}, "retail": {"field": 1}, "sql": {"field": 1, "skill": 1}}
    assert (len(pool), pool.count("sql"), pool.count("none")) == (3, 2, 0)
    assert TagPool.from_rows(reversed(ROWS)) == pool


def test_saved_and_loaded(tmp_path):
    pool = TagPool.from_rows(ROWS)
    pool.save(tmp_path / "pool.json")
    assert TagPool.load(tmp_path / "pool.json") == pool


@pytest.mark.parametrize("text", ["", "[]", '{"format": 9, "tags": []}', '{"format": 1, "tags": [{"tag": 1}]}'])
def test_a_file_that_is_no_pool(tmp_path, text):
    (tmp_path / "pool.json").write_text(text)
    with pytest.raises(DataError, match=r"pool.json: (not a tag pool|tag pool of format 9, expected 1)"):
        TagPool.load(tmp_path / "pool.json")


def test_a_data_set_without_tags():
    with pytest.raises(DataError, match="needs the column aspects; the data set has: x; apply AspectTagger first"):
        TagPool.from_dataset(Dataset.from_dict({"x": [1]}))


def test_draws_are_uniform_over_the_foreign_tags():
    pool = TagPool({f"t{number}": {"a": number + 1} for number in range(10)})
    drawn = Counter()
    for seed in range(3000):
        tags = pool.draw(3, {"t2", "t7", "unknown"}, random.Random(seed))
        assert len(set(tags)) == 3
        drawn.update(tags)
    assert set(drawn) == {f"t{number}" for number in range(10)} - {"t2", "t7"}
    assert all(abs(count / 3000 - 3 / 8) < 0.04 for count in drawn.values())


def test_a_small_pool_gives_what_it_has():
    pool = TagPool({"a": {"x": 1}, "b": {"x": 1}})
    assert pool.draw(21, ["a"], random.Random(1)) == ["b"]
    assert pool.draw(21, ["a", "b"], random.Random(1)) == []
