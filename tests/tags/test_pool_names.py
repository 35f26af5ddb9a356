from datasets import Dataset

from tagevol_hf.tags.embed import NgramEmbedder
from tagevol_hf.tags.normalize import Normalization, TagNormalizer
from tagevol_hf.tags.pool import TagPool
from tagevol_hf.tags.pool_names import canonical_tags
from tagevol_hf.tags.taggers import ASPECTS


def rows(*tag_lists):
    aspects = [None if tags is None else [{"aspect": "x", "tags": tags}] for tags in tag_lists]
    columns = {"id": [str(number) for number in range(len(tag_lists))], "aspects": aspects, "tags": list(tag_lists)}
    data = Dataset.from_dict(columns)
    return data.cast_column("aspects", ASPECTS["aspects"]).cast_column("tags", ASPECTS["tags"])


def fitted(pool, eps=0.05, embedder=None):
    counts = {tag: pool.count(tag) for tag in pool.tags}
    return TagNormalizer.from_counts(counts, rows=9, settings=Normalization(alpha=1, eps=eps), embedder=embedder)


def test_spellings_become_one_in_the_pool_and_in_the_rows():
    data = rows(["prime numbers", "prime number"], ["prime-numbers", "money"], ["prime numbers"], None)
    pool = TagPool.from_dataset(data, "s")
    normalizer = fitted(pool)
    named = canonical_tags(data, normalizer)
    assert pool.normalized(normalizer).aspects == {"money": {"x": 1}, "prime numbers": {"x": 3}}
    assert named["tags"][:] == [["prime numbers"], ["prime numbers", "money"], ["prime numbers"], None]
    assert named["aspects"][1] == [{"aspect": "x", "tags": ["prime numbers", "money"]}]
    assert named["aspects"][3] is None
    assert TagPool.from_dataset(named, "s") == pool.normalized(normalizer)


def test_a_seed_keeps_the_tags_that_the_pool_does_not_have():
    foreign = TagPool({"python list": {"topic": 4}, "loops": {"topic": 2}})
    named = canonical_tags(rows(["python lists", "cooking"], ["cooking"]), fitted(foreign))
    assert foreign.normalized(fitted(foreign)) == foreign
    assert named["tags"][:] == [["python list", "cooking"], ["cooking"]]


def test_near_names_become_one_by_embedding():
    data = rows(["linear equation systems"], ["linear equation systems"], ["systems of linear equation"], ["poetry"])
    pool = TagPool.from_dataset(data, "s")
    near = fitted(pool, embedder=NgramEmbedder(), eps=0.3)
    assert pool.normalized(fitted(pool)) == pool
    assert pool.normalized(near).tags == ["linear equation systems", "poetry"]
    assert canonical_tags(data, near)["tags"][2] == ["linear equation systems"]
