"""What a recipe will ask, before it asks."""

from tagevol_hf.plan import COMPARISONS, compare_choices, plan
from tagevol_hf.recipe import recipe_from


def planned(*steps, rows=100):
    body = {"name": "x", "data": {"source": "x.jsonl"}, "engines": {"default": "builtin"}, "steps": list(steps)}
    return {step.name: (step.rows, step.requests, step.worst) for step in plan(recipe_from(body), rows)}


def test_tag_evol_asks_once_a_seed_and_budget():
    found = planned(
        {"aspect_tags": {}}, {"tag_pool": {}}, {"tag_evol": {"budgets": [1, 3, 5], "attempts": 2}}, "respond"
    )
    assert found == {
        "aspect_tags": (100, 100, 300),
        "tag_pool": (100, 0, 0),
        "tag_evol": (300, 300, 600),
        "respond": (300, 300, 600),
    }


def test_tagging_in_two_calls_and_one_row_a_seed_for_adaptive_budgets():
    found = planned(
        {"aspect_tags": {"method": "two-call"}}, "tag_pool", {"tag_evol": {"budgets": "adaptive"}}, "review"
    )
    assert found["aspect_tags"][:2] == (100, 200)
    assert found["tag_evol"][:2] == found["review"][:2] == (100, 100)


def test_rounds_with_and_without_elimination():
    assert planned({"evol_instruct": {"rounds": 3}})["evol_instruct"][:2] == (300, 900)
    assert planned({"evol_instruct": {"rounds": 3, "eliminate": []}})["evol_instruct"][:2] == (300, 300)


def test_the_optimisation_loop():
    found = planned({"optimize_method": {"steps": 10, "dev": 50}}, {"auto_evol": {"rounds": 2}}, rows=1000)
    # the first failure rate; then a step: 10 rewrites, an analysis, 5 methods, each with 50 rewrites and answers
    assert found["optimize_method"][:2] == (1000, 100 + 10 * (10 + 1 + 5 * (1 + 100)))
    assert found["auto_evol"][:2] == (2000, 2000)


def test_further_draws_and_a_sample():
    found = planned("respond", {"agree": {"draws": 4}}, {"measure": {"sample": 50}})
    assert (found["agree"][:2], found["measure"]) == ((100, 400), (100, 100, 300))
    assert planned({"measure": {"sample": 0}})["measure"] == (100, 0, 0)


def test_measured_by_budget():
    steps = (
        {"aspect_tags": {}},
        "tag_pool",
        {"tag_evol": {"budgets": [1, 3]}},
        {"measure": {"sample": 10, "by": "budget"}},
    )
    assert planned(*steps)["measure"][:2] == (200, 40)


def test_the_pairs_of_each_plan_are_those_that_a_recipe_with_it_asks():
    steps = [{"open_tags": {}}, {"normalize_tags": {}}, {"cluster": {"k": 4}}, {"compare": {}}, {"select": {"n": 5}}]
    body = {"name": "t", "data": {"source": "x.jsonl"}, "engines": {"default": "builtin"}}
    found = compare_choices(recipe_from({**body, "steps": steps}), 100)
    assert list(found) == ["k-regular", "adjacent", "anchor", "swiss"]
    for kind, asked in found.items():
        for number, requests in zip(COMPARISONS, asked, strict=True):
            for orders, share in (("both", 1), ("one", 2)):
                compare = {"compare": {"plan": kind, "comparisons": number, "orders": orders}}
                recipe = recipe_from({**body, "steps": [*steps[:3], compare, steps[4]]})
                (planned,) = [step.requests for step in plan(recipe, 100) if step.name == "compare"]
                assert planned * share == requests
