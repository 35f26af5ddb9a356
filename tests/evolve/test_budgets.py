import pytest
from datasets import Dataset
from evolve.evolving import POOL, TAGGED, seeds

from tagevol_hf.errors import DataError
from tagevol_hf.evolve.budgets import Adaptive
from tagevol_hf.evolve.tag_evol import draw_candidates
from tagevol_hf.tags.pool import TagPool


def tagged(*sizes):
    rows = [
        {**seeds(1)[0], "id": f"s{place}", "tags": [f"tag {number:02d}" for number in range(size)]}
        for place, size in enumerate(sizes)
    ]
    return Dataset.from_list(rows, features=TAGGED)


def test_easy_seeds_get_many_tags_and_hard_ones_few_so_that_the_sum_is_level():
    drawn = draw_candidates(tagged(0, 3, 6, 9, 30), POOL, Adaptive(target=8, least=1, most=7))
    assert [(row["id"], row["budget"]) for row in drawn] == [
        ("s0/b7", 7), ("s1/b5", 5), ("s2/b2", 2), ("s3/b1", 1), ("s4/b1", 1),
    ]  # fmt: skip
    sums = [len(row["seed_tags"]) + row["budget"] for row in drawn]
    assert sums[1:3] == [8, 8]


def test_the_target_comes_from_the_pool_so_that_parts_agree():
    sizes = (2, 4, 4, 10)
    aspects = [{"id": f"s{place}", "aspects": [{"aspect": "a", "tags": [f"tag {n:02d}" for n in range(size)]}],
                "rejection": None} for place, size in enumerate(sizes)]  # fmt: skip
    pool = TagPool.merge([TagPool.from_rows(aspects), POOL])
    assert Adaptive().resolved(pool).target == 4 + 4
    whole = {row["id"]: row["budget"] for row in draw_candidates(tagged(*sizes), pool, Adaptive())}
    assert whole == {"s0/b6": 6, "s1/b4": 4, "s2/b4": 4, "s3/b1": 1}
    part = draw_candidates(tagged(*sizes).select([3, 0]), pool, Adaptive())
    assert {row["id"]: row["budget"] for row in part} == {key: whole[key] for key in ("s3/b1", "s0/b6")}


def test_a_pool_that_does_not_know_its_rows_needs_a_target():
    with pytest.raises(DataError, match="does not know its seed rows; give a target"):
        draw_candidates(tagged(1), POOL, Adaptive())


@pytest.mark.parametrize(("least", "most", "target"), [(0, 3, None), (4, 3, None), (1, 16, None), (1, 7, 0)])
def test_numbers_out_of_range(least, most, target):
    with pytest.raises(DataError, match="adaptive budget: expected"):
        Adaptive(target, least, most)


def test_fewer_candidates_than_the_largest_budget():
    with pytest.raises(DataError, match=r"candidates: expected at least the largest budget \(7\), got 5"):
        draw_candidates(tagged(1), POOL, Adaptive(target=3), candidates=5)
