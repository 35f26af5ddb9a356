"""What `tagevol plan` says is what a run asks, where every first reply can be used."""

import json
import os
from pathlib import Path

import pytest

from tagevol_hf.pipeline import curate
from tagevol_hf.pipeline.journey import read_all
from tagevol_hf.plan import plan
from tagevol_hf.preview import expected, preview
from tagevol_hf.recipe import recipe_from

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
ALPACA = DATA / "alpaca52k" / "alpaca_data.json"
EVOLVE = ["aspect_tags", "tag_pool", {"tag_evol": {"budgets": [1, 3]}}, "respond"]
SELECT = [
    "open_tags",
    {"normalize_tags": {"embedder": "builtin"}},
    {"cluster": {"embedder": "builtin"}},
    {"compare": {"comparisons": 2}},
    {"select": {"n": 100}},
]
RECIPES = {
    "tag-evol": [*EVOLVE, {"measure": {"sample": 20, "by": "budget"}}],
    "tacos": SELECT,
    "both": [*EVOLVE, *SELECT],
}


@pytest.mark.slow
@pytest.mark.skipif(not ALPACA.exists(), reason=f"the recorded data are not here: {ALPACA}")
@pytest.mark.parametrize("name", RECIPES)
def test_requests_planned_are_requests_made(name, tmp_path):
    rows = json.loads(ALPACA.read_text(encoding="utf-8"))[:200]  # on 1,000 in test_plan_server.py
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"source": str(tmp_path / "rows.jsonl"), "columns": {"response": "output"}}
    body = {"name": name, "data": source, "engines": {"default": "builtin"}, "steps": RECIPES[name]}
    recipe = recipe_from(body)
    run = curate(recipe, tmp_path / "run")
    planned = {step.name: step.requests for step in plan(recipe, len(rows))}
    made = {step["name"]: step["asked"] for step in run.record["steps"] if step["name"] != "load"}
    assert made == planned
    assert not any(run.record["totals"]["rejected"].values())
    assert_tokens(recipe, run.record["steps"], tmp_path / "preview")


def assert_tokens(recipe, made, folder):
    """From 100 of the rows, all prompts together within 2 %; each step's within 3 %, replies within 10 %."""
    rows = read_all(recipe.data)
    figures = preview(recipe, rows, 100, folder).record
    found = expected(recipe, plan(recipe, len(rows)), figures, plan(recipe, 100))
    asking = {step["name"]: step for step in made if step["asked"]}
    assert found.keys() == asking.keys()
    for step, one in found.items():
        assert one.requests == asking[step]["asked"]
        assert one.prompt_tokens == pytest.approx(asking[step]["prompt_tokens"], rel=0.03)
        assert one.completion_tokens == pytest.approx(asking[step]["completion_tokens"], rel=0.1)
    total = sum(step["prompt_tokens"] for step in asking.values())
    assert sum(one.prompt_tokens for one in found.values()) == pytest.approx(total, rel=0.02)
