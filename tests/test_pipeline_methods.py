"""The journeys of Tag-Evol in all its forms, Evol-Instruct and Auto Evol-Instruct, on the built-in engine."""

import json

import pytest

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.pipeline import STEPS, curate
from tagevol_hf.recipe import recipe_from
from tagevol_hf.recipe_steps import STEPS as KNOWN
from tagevol_hf.tags.pool import TagPool

THINGS = ["a river delta", "the tides", "prime numbers", "a train timetable", "a rye bread", "an old map", "a tax form"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    rows = [
        {"instruction": f"Explain {THINGS[n % 7]} to {n + 5} pupils.", "output": f"It is #### {n}"} for n in range(14)
    ]
    path = tmp_path_factory.mktemp("data") / "seeds.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(source, folder, *steps, store=None, **changes):
    body = {"name": "t", "data": {"source": source}, "engines": {"default": "builtin"}, "steps": list(steps), **changes}
    done = curate(recipe_from(body), folder, store=store)
    totals = done.record["totals"]
    kept = totals["selected"] + totals["not_chosen"] + sum(totals["rejected"].values())
    assert totals["read"] + totals["added"] == kept
    return done


def step(done, name):
    return next(step for step in done.record["steps"] if step["name"] == name)


def test_every_step_of_a_recipe_has_its_function():
    assert set(STEPS) == set(KNOWN)


@pytest.mark.parametrize("method", ["one-call", "two-call", "fine", "coarse"])
def test_each_way_of_tagging_leads_to_evolved_rows(source, tmp_path, method):
    steps = ({"aspect_tags": {"method": method}}, "tag_pool", {"tag_evol": {"budgets": [2]}})
    done = run(source, tmp_path / "run", *steps)
    assert len(done.selected) == 14
    assert step(done, "aspect_tags")["asked"] == (28 if method == "two-call" else 14)
    assert step(done, "aspect_tags")["summary"] == {"method": method}
    aspects = {part["aspect"] for row in done.selected for part in row.get("aspects") or ()}
    pool = TagPool.load(done.path / "tag_pool.json")
    assert (pool.summary()["aspects"] == 1) == (method in ("fine", "coarse")), aspects
    assert list(pool.summary()["sources"]) == ["t"]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["paper", "release-math", "random"])
def test_each_variant_with_a_review(source, tmp_path, variant):
    steps = ({"tag_evol": {"budgets": [1, 3], "variant": variant}}, {"review": {"reject": ["tag_not_integrated"]}})
    done = run(source, tmp_path / "run", {"aspect_tags": {}}, {"tag_pool": {}}, *steps)
    assert len(done.selected) == 28
    assert step(done, "tag_evol")["summary"] == {"variant": variant, "reply_obedience": 1.0}
    assert all(row["integrated_tags"] == row["chosen_tags"] for row in done.selected)


def test_adaptive_budgets(source, tmp_path):
    steps = ({"aspect_tags": {}}, {"tag_pool": {}}, {"tag_evol": {"budgets": "adaptive", "adaptive": {"target": 8}}})
    done = run(source, tmp_path / "run", *steps)
    for row in done.selected:
        assert row["budget"] == min(7, max(1, 8 - len(row["seed_tags"])))
    assert len(done.selected) == 14


def test_the_pool_of_another_run_and_both_together(source, tmp_path):
    first = run(source, tmp_path / "first", {"aspect_tags": {}}, {"tag_pool": {"source": "mathematics"}})
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"instruction": f"Code a parser of {n} tokens."}) + "\n" for n in range(8)))
    steps = ({"aspect_tags": {}}, {"tag_pool": {"from": str(first.path)}}, {"tag_evol": {"budgets": [1]}})
    crossed = run(str(other), tmp_path / "crossed", *steps)
    foreign = set(TagPool.load(first.path / "tag_pool.json").tags)
    assert all(set(row["chosen_tags"]) <= foreign for row in crossed.selected)
    steps = (
        {"aspect_tags": {}},
        {"tag_pool": {"add": [str(first.path)], "source": "code"}},
        {"tag_evol": {"budgets": [1]}},
    )
    both = run(str(other), tmp_path / "both", *steps)
    assert set(step(both, "tag_pool")["summary"]["sources"]) == {"code", "mathematics"}
    only = run(
        str(other), tmp_path / "only", steps[0], {"tag_pool": {**steps[1]["tag_pool"], "sources": ["mathematics"]}}
    )
    assert set(step(only, "tag_pool")["summary"]["sources"]) == {"mathematics"}


@pytest.mark.parametrize("how", ["rule", "semantic"])
def test_near_equal_tags_become_one_and_no_seed_is_offered_its_own(tmp_path, how):
    words = [
        "Sort red apples now.",
        "Sort red apple now.",
        "Count Red Apples twice.",
        "Paint a blue boat.",
        "Draw a map.",
    ]
    rows = [{"instruction": text} for text in words for _ in (0, 1)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({**row, "id": str(n)}) + "\n" for n, row in enumerate(rows)))
    steps = ({"aspect_tags": {}}, {"tag_pool": {"normalize": how}}, {"tag_evol": {"budgets": [1]}})
    done = run(str(tmp_path / "x.jsonl"), tmp_path / "run", *steps)
    plain = run(str(tmp_path / "x.jsonl"), tmp_path / "plain", steps[0], {"tag_pool": {}}, steps[2])
    assert step(done, "tag_pool")["summary"]["tags"] < step(plain, "tag_pool")["summary"]["tags"]
    for row in done.selected:
        assert not set(row["candidates"]) & set(row["seed_tags"])


def test_evol_instruct_with_elimination_and_answers_from_the_store(source, tmp_path):
    done = run(
        source, tmp_path / "run", {"evol_instruct": {"rounds": 2}}, "respond", {"measure": {"sample": 3, "by": "round"}}
    )
    evolved, answered = step(done, "evol_instruct"), step(done, "respond")
    assert (evolved["rows_in"], evolved["added"]) == (14, 14)
    assert answered["asked"] == 0, "elimination has asked for these answers already"
    measures = json.loads((done.path / "measures.json").read_text())
    assert {"all", "round 1", "round 2"} <= set(measures["groups"])
    again = run(
        source, tmp_path / "run", {"evol_instruct": {"rounds": 2}}, "respond", {"measure": {"sample": 3, "by": "round"}}
    )
    assert again.record["totals"]["asked"] == 0
    assert again.selected.to_list() == done.selected.to_list()


def test_auto_evol_by_the_optimised_method(source, tmp_path):
    loop = {"optimize_method": {"dev": 3, "batch": 3, "steps": 1, "candidates": 2}}
    done = run(
        source,
        tmp_path / "run",
        loop,
        {"auto_evol": {"rounds": 2}},
        {"respond": {}},
        {"agree": {"draws": 2, "least": 0}},
    )
    assert len(done.selected) + sum(done.record["totals"]["rejected"].values()) == 28
    assert step(done, "optimize_method")["summary"]["ended"]
    assert json.loads((done.path / "method.json").read_text())["method"].startswith("1. ")


@pytest.mark.parametrize("method", ["initial", "published"])
def test_auto_evol_by_a_fixed_method(source, tmp_path, method):
    done = run(source, tmp_path / "run", {"auto_evol": {"method": method}})
    assert len(done.selected) == 14
    with pytest.raises(RecipeError, match=r"no such text; give a path to a .txt file or one of: initial, published"):
        run(source, tmp_path / "other", {"auto_evol": {"method": "best"}})


def test_several_sources_and_one_store_for_two_runs(source, tmp_path):
    (tmp_path / "more.jsonl").write_text(
        '{"problem": "Add 2 and 3.", "level": 1}\n{"problem": "Halve 8.", "level": 2}\n'
    )
    more = {"source": str(tmp_path / "more.jsonl"), "columns": {"instruction": "problem"}}
    data = {"source": source, "also": [more], "limit": 15}
    steps = ({"aspect_tags": {}}, {"tag_pool": {}})
    first = run(source, tmp_path / "a", *steps, data=data, store=tmp_path / "store.sqlite")
    assert len(first.selected) == 15
    assert first.selected["source"][-1] == more["source"]
    assert step(first, "tag_pool")["summary"]["sources"].keys() == {source, more["source"]}
    second = run(source, tmp_path / "b", *steps, data=data, store=tmp_path / "store.sqlite")
    assert (second.record["totals"]["asked"], second.record["totals"]["stored"]) == (0, 15)
    assert not (tmp_path / "b" / "store.sqlite").exists()


def test_contamination_by_a_test_set(source, tmp_path):
    references = [{"source": source}]
    done = run(source, tmp_path / "run", {"measure": {"sample": 0, "references": references}})
    measures = json.loads((done.path / "measures.json").read_text())
    assert measures["groups"]["all"]["contaminated_share"] == 1.0
    assert "difficulty" not in measures["groups"]["all"]
    assert step(done, "measure")["asked"] == 0


def test_a_test_set_that_is_not_there_is_told_before_anything_is_asked(source, tmp_path):
    steps = ({"evol_instruct": {}}, {"measure": {"references": [{"source": "none.jsonl"}]}})
    with pytest.raises(DataError, match=r"measure\.references: 'none.jsonl': cannot be read .*references=\[\]"):
        run(source, tmp_path / "run", *steps)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["asked"] == 0
