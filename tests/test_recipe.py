from pathlib import Path

import pytest
import yaml

from tagevol_hf.errors import RecipeError
from tagevol_hf.recipe import recipe_from
from tagevol_hf.recipe_file import load_recipe

ROOT = Path(__file__).parent.parent
BASE = {
    "name": "mine",
    "data": {"source": "x.jsonl"},
    "engines": {"default": "builtin"},
    "steps": [{"aspect_tags": {}}, {"tag_pool": {}}, {"tag_evol": {"budgets": [1, 3]}}],
}


def with_(**changes):
    return {**BASE, **changes}


def write(folder, body):
    (folder / "curate.yaml").write_text(body if isinstance(body, str) else yaml.safe_dump(body))
    return folder


@pytest.mark.parametrize("file", sorted(ROOT.glob("recipes/**/curate.yaml")), ids=str)
def test_every_recipe_of_the_project_is_valid(file):
    recipe = load_recipe(file)
    assert recipe_from(recipe.plain()) == recipe


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (with_(steps=[{"tag_evl": {}}]), r'steps\[0\]: tag_evl is not a step; did you mean "tag_evol"\?'),
        (
            with_(steps=[*BASE["steps"][:2], {"tag_evol": {"budget": [1]}}]),
            r'steps\[2\].tag_evol.budget is not a field; did you mean "budgets"\?',
        ),
        (with_(dat={}), r'recipe.dat is not a field; did you mean "data"\?'),
        (with_(data={"source": "x", "colums": {}}), r'data.colums is not a field; did you mean "columns"\?'),
        (with_(engines={}), "engines needs the key default"),
        (
            with_(engines={"default": "builtin", "responds": "x"}),
            r'engines: responds .*did you mean "respond"\?',
        ),
        (with_(engines={"default": "http://me:secret@host/v1#m"}), "engines.default holds a key or a password; set"),
        (
            with_(engines={"default": "http://host/v1?api_key=secret#m"}),
            "engines.default holds a key or a password; set",
        ),
        (with_(steps=[{"tag_pool": {}}]), r"steps\[0\].tag_pool needs the step aspect_tags before it"),
        (with_(steps=[{"respond": {}}, {"respond": {}}]), r"steps\[1\]: respond stands there twice"),
        (with_(steps={}), r"steps: expected a list"),
        (
            with_(steps=[{"respond": {"attempts": 0}}]),
            r"respond.attempts: .*greater than or equal to 1, got 0",
        ),
        (
            with_(steps=[{"respond": {"temperature": "hot"}}]),
            r"respond.temperature: .*valid number.*got 'hot'",
        ),
        (
            with_(steps=[*BASE["steps"][:2], {"tag_evol": {"budgets": [1, 1]}}]),
            r"expected different numbers, got \[1, 1\]",
        ),
        (
            with_(steps=[*BASE["steps"][:2], {"tag_evol": {"budgets": [16]}}]),
            r"tag_evol.budgets.0: .*15, got 16",
        ),
        (with_(name="../up"), "name: "),
        ({key: BASE[key] for key in ("name", "engines", "steps")}, "data: Field required"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(body, message):
    with pytest.raises(RecipeError, match=message):
        recipe_from(body)


def test_files_that_are_no_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"no such recipe; give a YAML file or a folder"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match=r"curate.yaml: not valid YAML \(.*line 2") as fault:
        load_recipe(write(tmp_path, "name: [x\nsteps: {"))
    assert "\n" not in str(fault.value)
    with pytest.raises(RecipeError, match=r"expected keys and values .*got list"):
        load_recipe(write(tmp_path, "- a"))


def test_a_tag_that_runs_code_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"not valid YAML"):
        load_recipe(write(tmp_path, "name: !!python/object/apply:os.system ['true']"))


def test_overrides_and_limit(tmp_path):
    recipe = load_recipe(
        write(tmp_path, BASE),
        ["tag_evol.budgets=[2, 4]", "engines.respond=http://h/v1#m", "seed=7", "data.columns.instruction=q"],
        5,
    )
    assert recipe.option("tag_evol").budgets == [2, 4]
    assert (recipe.engine("respond"), recipe.engine("aspect_tags")) == ("http://h/v1#m", "builtin")
    assert (recipe.seed, recipe.data.limit, recipe.data.columns) == (7, 5, {"instruction": "q"})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "expected key=value"),
        ("sed=1", r'sed is not a field or a step; did you mean "seed"\?'),
        ("select.n=5", "the recipe has no step select; its steps: aspect_tags, tag_pool, tag_evol"),
        ("tag_evol=3", "name a field of the step"),
        ("tag_evol.budgts=[1]", r'budgts is not a field; did you mean "budgets"\?'),
        ("seed=[", "the value is not valid YAML"),
    ],
)
def test_wrong_overrides(tmp_path, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, BASE), [override])


def test_paths_count_from_the_recipe_and_overrides_from_here(tmp_path, monkeypatch):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "x.jsonl").write_text("")
    (tmp_path / "here.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(write(folder, BASE)).data.source == str(folder / "x.jsonl")
    assert load_recipe(folder, ["data.source=here.jsonl"]).data.source == str(tmp_path / "here.jsonl")
    assert load_recipe(folder, ["data.source=owner/name"]).data.source == "owner/name"


def test_the_digest_changes_with_the_recipe():
    assert recipe_from(BASE).digest == recipe_from(dict(BASE)).digest
    assert recipe_from(BASE).digest != recipe_from(with_(seed=43)).digest


def evolving(**options):
    return with_(steps=[*BASE["steps"][:2], {"tag_evol": options}])


def test_adaptive_budgets_under_both_names():
    plural = recipe_from(evolving(budgets="adaptive", adaptive={"most": 5})).option("tag_evol")
    singular = recipe_from(evolving(budget="adaptive", adaptive={"most": 5})).option("tag_evol")
    assert plural == singular
    assert (plural.budgets, plural.adaptive.target, plural.adaptive.least, plural.adaptive.most) == (
        "adaptive",
        None,
        1,
        5,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": "adaptiv"}, "budgets: expected a list of numbers from 1 to 15, or adaptive, got 'adaptiv'"),
        ({"budgets": "adaptive", "candidates": 3}, "candidates: expected at least the largest budget, 7"),
        ({"budgets": "adaptive", "adaptive": {"least": 5, "most": 3}}, r"adaptive: least: expected at most 3 \(most\)"),
        ({"budgets": []}, "tag_evol.budgets: "),
        ({"variant": "release-maths"}, "tag_evol.variant: .*'release-math'"),
        ({"adaptive": {"targt": 3}}, r'adaptive.targt is not a field; did you mean "target"\?'),
    ],
)
def test_wrong_options_of_tag_evol(options, message):
    with pytest.raises(RecipeError, match=message):
        recipe_from(evolving(**options))


@pytest.mark.parametrize(
    ("steps", "engines", "message"),
    [
        ([{"evol_instruct": {}}, {"auto_evol": {}}], {}, "evol_instruct and auto_evol stand in one recipe"),
        ([{"auto_evol": {}}, {"optimize_method": {}}], {}, "optimize_method finds a method for auto_evol, which must"),
        ([{"review": {}}], {}, r"steps\[0\].review needs the step tag_evol before it"),
        ([{"agree": {}}], {}, r"steps\[0\].agree needs the step respond before it"),
        ([{"evol_instruct": {"operators": ["deepn"]}}], {}, "evol_instruct.operators.0: .*'deepen'"),
        ([{"evol_instruct": {"rounds": 11}}], {}, "evol_instruct.rounds: "),
        ([{"aspect_tags": {"method": "two-call", "prompt": "x"}}], {}, "prompt: two calls have a prompt each"),
        ([{"optimize_method": {"attempts": 3}}, {"auto_evol": {}}], {}, "attempts: the loop has prompts and limits of"),
        ([{"aspect_tags": {}}, {"tag_pool": {"fom": "x"}}], {}, r'tag_pool.fom is not a field; did you mean "from"\?'),
        (
            [{"optimize_method": {}}, {"auto_evol": {}}],
            {"auto_evol": "vllm:small", "optimize_method": "vllm:large"},
            "optimize_method asks two models in turn .* serve one of them",
        ),
    ],
)
def test_steps_that_do_not_go_together(steps, engines, message):
    with pytest.raises(RecipeError, match=message):
        recipe_from(with_(steps=steps, engines={"default": "builtin", **engines}))


def test_the_pool_of_another_run_is_one_line(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "pool.json").write_text("{}")
    steps = [{"aspect_tags": {}}, {"tag_pool": {"from": "pool.json", "add": ["pool.json", "me/tags"]}}]
    recipe = load_recipe(write(tmp_path / "recipe", with_(steps=steps)))
    pool, here = recipe.option("tag_pool"), str(tmp_path / "recipe" / "pool.json")
    assert (pool.from_, pool.add) == (here, [here, "me/tags"])
    assert recipe_from(recipe.plain()) == recipe
    assert recipe.plain()["steps"][1]["tag_pool"]["from"] == here


def test_several_sources_and_an_override_in_place_of_all(tmp_path):
    (tmp_path / "more.jsonl").write_text("")
    also = [{"source": "more.jsonl", "columns": {"instruction": "problem"}}]
    data = {"source": "owner/name", "config": "main", "columns": {"instruction": "question"}, "also": also}
    recipe = load_recipe(write(tmp_path, with_(data=data)))
    assert [part.source for part in recipe.data.also] == [str(tmp_path / "more.jsonl")]
    other = load_recipe(tmp_path, ["data.source=mine/other"]).data
    assert (other.also, other.config, other.columns) == ([], None, {"instruction": "question"})
    assert load_recipe(tmp_path, ["data.source=mine/other", "data.config=x"]).data.config == "x"
    with pytest.raises(RecipeError, match=r'data.also.0.colums is not a field; did you mean "columns"\?'):
        recipe_from(with_(data={"source": "a", "also": [{"source": "b", "colums": {}}]}))


def test_agreement_is_asked_of_the_engine_that_answered():
    steps = [{"respond": {}}, {"agree": {}}]
    engines = {"default": "builtin", "respond": "http://h/v1#m"}
    recipe = recipe_from(with_(steps=steps, engines=engines, prices={"respond": {"prompt": 2}}))
    assert recipe.engine("agree") == "http://h/v1#m"
    assert recipe.prices_of("agree").prompt == 2
    assert recipe_from(with_(steps=steps, engines={**engines, "agree": "builtin"})).engine("agree") == "builtin"
