"""The schemas: they accept what the program accepts, and refuse what it refuses."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from tagevol_hf.cli import app
from tagevol_hf.recipe_steps import STEPS
from tagevol_hf.schema import described, recipe_schema, study_schema

RECIPES = Path(__file__).parent.parent / "recipes"
STUDIES = sorted({*RECIPES.glob("**/studies/*.yaml"), RECIPES / "quickstart" / "study.yaml"})
CURATING = sorted({*RECIPES.glob("**/*.yaml")} - {*STUDIES, *RECIPES.glob("**/sft-*.yaml")})


@pytest.fixture(scope="module")
def recipe():
    return jsonschema_rs.Draft202012Validator(recipe_schema())


def faults(validator, body):
    return [error.message for error in validator.iter_errors(body)]


def test_all_recipes_and_studies_of_the_project_are_valid(recipe):
    study = jsonschema_rs.Draft202012Validator(study_schema())
    assert len(CURATING) > 10
    for validator, files in ((recipe, CURATING), (study, STUDIES)):
        for file in files:
            assert faults(validator, yaml.safe_load(file.read_text(encoding="utf-8"))) == [], file


BODY = {"name": "a", "data": {"source": "a.jsonl"}, "engines": {"default": "builtin"}, "steps": ["tag_pool"]}


@pytest.mark.parametrize(
    "change",
    [
        {"stpes": []},
        {"name": "a/b"},
        {"data": {"source": "a.jsonl", "spilt": "test"}},
        {"engines": {"tag_evolve": "builtin"}},
        {"steps": []},
        {"steps": ["tag_evolve"]},
        {"steps": [{"tag_evol": {"budget": [1]}}]},
        {"steps": [{"tag_pool": {}, "tag_evol": {}}]},
        {"steps": [{"select": {"n": 0}}]},
        {"limits": {"max_requests": 0}},
    ],
)
def test_what_the_program_refuses_is_not_valid(recipe, change):
    assert faults(recipe, BODY) == []
    assert faults(recipe, {**BODY, **change})


@pytest.mark.parametrize("steps", [[{"tag_pool": None}, {"tag_evol": {"budgets": [1, 3]}}], [{"measure": {}}]])
def test_steps_with_and_without_options_are_valid(recipe, steps):
    assert faults(recipe, {**BODY, "steps": steps}) == []


def test_each_step_and_field_says_what_it_is():
    schema = recipe_schema()
    for name in STEPS:
        assert schema["$defs"][name]["description"], name
    for part, body in {**schema["$defs"], **study_schema()["$defs"]}.items():
        for name, field in body.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, f"{part}.{name}"
    assert schema["properties"]["seed"]["description"] == "Seed of all random choices."
    budgets = schema["$defs"]["tag_evol"]["properties"]["budgets"]["description"]
    assert budgets == described(STEPS["tag_evol"])["budgets"]
    assert study_schema()["$defs"]["Train"]["properties"]["set"]["description"].startswith("In a study `set`")


def test_the_command_prints_or_writes_it(tmp_path):
    runner = CliRunner()
    printed = runner.invoke(app, ["schema", "study"])
    assert json.loads(printed.stdout)["title"] == "A study of tagevol_hf (study.yaml)"
    done = runner.invoke(app, ["schema", "--out", str(tmp_path / "recipe.json")])
    assert done.exit_code == 0
    assert json.loads((tmp_path / "recipe.json").read_text()) == recipe_schema()
    wrong = runner.invoke(app, ["schema", "reciep"])
    assert "expected recipe or study, got 'reciep'" in str(wrong.exception)
    lost = runner.invoke(app, ["schema", "--out", str(tmp_path / "no" / "recipe.json")])
    assert "cannot be written (No such file or directory)" in str(lost.exception)
