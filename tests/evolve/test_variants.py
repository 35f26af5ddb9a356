"""Every variant keeps the budget, and each violation has exactly its reason."""

import json

import pytest
from datasets import Dataset
from evolve.evolving import GOOD, POOL, answer, seeds
from scripted import ScriptedEngine

from tagevol_hf.engines.open import open_engine
from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.evolve.tag_evol import draw_candidates
from tagevol_hf.evolve.variants import VARIANTS
from tagevol_hf.rows import split_rejected

CHOOSING = ("paper", "release-math")
REWRITING = ("paper", "random")


def evolved(variant, text, budget=3, data=None, **options):
    drawn = draw_candidates(data or seeds(1), POOL, [budget], variant=variant)
    return VARIANTS[variant](ScriptedEngine(lambda request: text), attempts=1, **options).apply(drawn)[0]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("budget", range(1, 8))
def test_the_built_in_engine_keeps_every_budget(variant, budget):
    drawn = draw_candidates(seeds(12), POOL, [budget], variant=variant)
    done, lost = split_rejected(VARIANTS[variant](open_engine("builtin")).apply(drawn))
    assert (len(done), len(lost)) == (12, 0)
    for row in done:
        assert len(set(row["chosen_tags"])) == len(row["chosen_tags"]) == budget
        assert set(row["chosen_tags"]) <= set(row["candidates"])
        assert not set(row["chosen_tags"]) & set(row["seed_tags"])
        assert all(tag in row["instruction"] for tag in row["chosen_tags"])


LONG = " ".join(["Sort the following list number 0 slowly", *["again"] * 200])
CASES = [
    (CHOOSING, {"chosen": [1, 2]}, "wrong_count"),
    (CHOOSING, {"chosen": [1, 2, 3, 4]}, "wrong_count"),
    (CHOOSING, {"chosen": []}, "wrong_count"),
    (CHOOSING, {"chosen": [1, 2, 22]}, "not_a_candidate"),
    (CHOOSING, {"chosen": [1, 2, "astrology"]}, "not_a_candidate"),
    (CHOOSING, {"chosen": [1, 2, 2]}, "repeated_choice"),
    (VARIANTS, {"final": " sort THE list\nnumber 0"}, "unchanged"),
    (VARIANTS, {"final": "Rewritten instruction: sort the list and count"}, "leaked_prompt"),
    (VARIANTS, {"final": "Use the candidate tags to sort the list number 0."}, "leaked_prompt"),
    (VARIANTS, {"final": "I'm sorry, but I can't help with that list."}, "refusal"),
    (VARIANTS, {"final": "As an AI language model, I do not sort lists."}, "refusal"),
    (VARIANTS, {"final": "Sure! Here is the sorted list: 1 2 3"}, "answer_not_instruction"),
    (VARIANTS, {"final": "The numbers are in order.\n#### 123"}, "answer_not_instruction"),
    (VARIANTS, {"final": "Therefore the first one is \\boxed{1}."}, "answer_not_instruction"),
    (VARIANTS, {"final": "Отсортируйте список чисел и докажите устойчивость."}, "language_changed"),
    (REWRITING, {"final": LONG}, "too_much_growth"),
    (REWRITING, {"final": "Prove that an order of real numbers is stable."}, "lost_input"),
    (VARIANTS, {"final": "   "}, "empty_reply"),
    (VARIANTS, {"final": 3}, "wrong_schema"),
    (VARIANTS, {"extra": 1}, "wrong_schema"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "changes", "reason"),
    [(variant, changes, reason) for variants, changes, reason in CASES for variant in variants],
)
def test_each_violation_has_its_reason_and_the_row_keeps_its_text(variant, changes, reason):
    text = answer(variant, **changes)
    row = evolved(variant, text)
    assert row["rejection"]["reason"] == reason, row["rejection"]
    assert (row["rejection"]["stage"], row["rejection"]["raw"], row["rejection"]["attempts"]) == ("tag_evol", text, 1)
    assert (row["instruction"], row["chosen_tags"]) == ("Sort the list number 0.", None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_good_reply_of_each_variant(variant):
    row = evolved(variant, answer(variant))
    assert row["rejection"] is None, row["rejection"]
    assert (row["instruction"], row["plan"]) == (GOOD, "p")
    assert row["chosen_tags"] == (row["candidates"] if variant == "random" else row["candidates"][:3])


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_own_tag_is_caught_wherever_it_comes_from(variant):
    drawn = draw_candidates(seeds(1), POOL, [1], variant=variant)
    rows = drawn.to_list()
    rows[0]["candidates"][0] = "tag 01"
    stage = VARIANTS[variant](ScriptedEngine(lambda request: answer(variant, [1])), attempts=1)
    row = stage.apply(Dataset.from_list(rows, features=drawn.features))[0]
    assert (row["rejection"]["reason"], row["rejection"]["detail"]) == ("own_tag", "tag 01")


def test_from_scratch_may_be_long_and_leave_the_seeds_material():
    assert evolved("release-math", answer("release-math", final=LONG))["rejection"] is None
    assert evolved("release-math", answer("release-math", final="Prove that an order is stable."))["rejection"] is None


def test_the_given_tags_are_as_many_as_the_budget_and_the_same_whatever_the_other_budgets():
    drawn = draw_candidates(seeds(3), POOL, [2, 5], variant="random")
    assert [len(row["candidates"]) for row in drawn] == [2, 5] * 3
    alone = draw_candidates(seeds(3), POOL, [5], variant="random")
    assert alone["candidates"][:] == drawn["candidates"][1::2]
    wrong = draw_candidates(seeds(1), POOL, [2])
    row = VARIANTS["random"](ScriptedEngine(lambda request: answer("random")), attempts=1).apply(wrong)[0]
    assert row["rejection"]["detail"] == '21 tags given, the budget is 2; draw for "random"'


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_schema_and_one_shared_prompt_a_budget(variant):
    engine = ScriptedEngine(lambda request: answer(variant, [1]))
    stage = VARIANTS[variant](engine, attempts=1)
    drawn = draw_candidates(seeds(20), POOL, [1, 2, 7], variant=variant)
    stage.apply(drawn)
    assert len({json.dumps(request.schema) for request in engine.requests}) == (1 if variant == "random" else 3)
    for start, budget in enumerate((1, 2, 7)):
        prompts = [request.messages[0].content for request in engine.requests[start::3]]
        shared = prompts[0].split("<instruction>")[0]
        assert len(prompts) == 20
        assert all(prompt.startswith(shared) for prompt in prompts)
        assert str(budget) in shared
    own = "tag 00, tag 01" in engine.requests[0].messages[0].content
    assert own == (variant == "release-math")


def test_a_reply_may_be_mended_by_another_draw():
    replies = iter([answer("paper", [1, 1, 2]), answer("paper", final="I'm sorry, but I can't."), answer("paper")])
    engine = ScriptedEngine(lambda request: next(replies))
    row = VARIANTS["paper"](engine, attempts=3).apply(draw_candidates(seeds(1), POOL, [3]))[0]
    assert (row["rejection"], engine.asked) == (None, 3)
    assert len({request.sampling.seed for request in engine.requests}) == 3


def test_a_prompt_of_another_variant_is_refused_before_anything_is_asked():
    engine = ScriptedEngine(lambda request: "")
    with pytest.raises(RecipeError, match=r"prompt tag_evol: the variant release-math shows .* \{\{own_tags\}\}"):
        VARIANTS["release-math"](engine, prompt="tag_evol")
    with pytest.raises(RecipeError, match="prompt tag_evol: the variant random leaves no choice"):
        VARIANTS["random"](engine, prompt="tag_evol")
    with pytest.raises(DataError, match=r"tag_evol\.variant: expected one of paper, release-math, random, got 'papr'"):
        draw_candidates(seeds(1), POOL, [1], variant="papr")
