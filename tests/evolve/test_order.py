"""Shuffled, in two halves, or in other batches: the same rows by id, retries included."""

import hashlib
import random

import pytest
from datasets import concatenate_datasets
from evolve.evolving import POOL, answer, seeds
from scripted import ScriptedEngine

from tagevol_hf.evolve.budgets import Adaptive
from tagevol_hf.evolve.tag_evol import draw_candidates
from tagevol_hf.evolve.variants import VARIANTS


def moody(variant):
    """A model whose replies follow from the request alone; every third is of no use."""

    def reply(request):
        digest = hashlib.sha256(request.key("moody").encode()).digest()
        budget = request.schema["properties"].get("chosen", {}).get("minItems", 0)
        chosen = random.Random(digest).sample(range(1, 20), budget)
        if digest[0] % 3 == 0:
            chosen, budget = [0] * budget, -1
        final = "I'm sorry, but I can't." if budget < 0 else f"Sort the given list and mind case {digest.hex()[:12]}."
        return answer(variant, chosen, final)

    return ScriptedEngine(reply)


def by_id(dataset):
    return {
        row["id"]: {key: value for key, value in row.items() if key != "rejection"} | reason(row) for row in dataset
    }


def reason(row):
    return {"reason": row["rejection"] and (row["rejection"]["reason"], row["rejection"]["attempts"])}


def run(variant, data, budgets=(1, 3, 5)):
    return VARIANTS[variant](moody(variant)).apply(draw_candidates(data, POOL, budgets, variant=variant))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_rows_by_id(variant):
    data = seeds(60)
    expected = by_id(run(variant, data))
    assert len(expected) == 180
    assert 1 < sum(row["reason"] is not None for row in expected.values()) < 40  # some have no attempt left
    assert by_id(run(variant, data.shuffle(seed=7))) == expected
    halves = [run(variant, data.shard(2, number, contiguous=False)) for number in (0, 1)]
    assert by_id(concatenate_datasets(halves)) == expected
    assert by_id(run(variant, data, (5, 1, 3))) == expected
    drawn = draw_candidates(data, POOL, (1, 3, 5), variant=variant)
    mapped = drawn.map(VARIANTS[variant](moody(variant)), batched=True, batch_size=7, load_from_cache_file=False)
    assert by_id(mapped) == expected


def test_adaptive_budgets_in_two_halves():
    data = concatenate_datasets([seeds(10, tags=tuple(f"tag {n:02d}" for n in range(size))) for size in (1, 2, 4, 9)])
    data = data.remove_columns("id").add_column("id", [f"s{number}" for number in range(40)])
    expected = by_id(run("paper", data, Adaptive(target=6)))
    assert sorted({row["budget"] for row in expected.values()}) == [1, 2, 4, 5]
    halves = [run("paper", data.shard(2, number), Adaptive(target=6)) for number in (0, 1)]
    assert by_id(concatenate_datasets(halves)) == expected
