"""What `tagevol plan` says is what a run asks, where every first reply can be used."""

import json
import os
from pathlib import Path

import pytest

from tagevol_hf.pipeline import curate
from tagevol_hf.plan import plan
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
    rows = json.loads(ALPACA.read_text(encoding="utf-8"))[:1000]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"source": str(tmp_path / "rows.jsonl"), "columns": {"response": "output"}}
    body = {"name": name, "data": source, "engines": {"default": "builtin"}, "steps": RECIPES[name]}
    recipe = recipe_from(body)
    run = curate(recipe, tmp_path / "run")
    planned = {step.name: step.requests for step in plan(recipe, len(rows))}
    made = {step["name"]: step["asked"] for step in run.record["steps"] if step["name"] != "load"}
    assert made == planned
    assert not any(run.record["totals"]["rejected"].values())
