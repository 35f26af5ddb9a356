"""Small finished runs, made by the real pipeline with the built-in engine, and processes that know one Hub only."""

import json
import os
from pathlib import Path

from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from

SEEDS = Path(__file__).parents[1] / "recipes/quickstart/seeds.jsonl"
TOKEN = "hf_PlantedTokenOfTheTests1"
EVOLVE = [{"aspect_tags": {}}, {"tag_pool": {}}, {"tag_evol": {"budgets": [1, 3]}}, {"respond": {}}]
CHOOSE = [{"open_tags": {}}, {"normalize_tags": {}}, {"cluster": {"k": 2}}, {"compare": {}}, {"select": {"n": 6}}]


def make_run(folder, rows, steps, name="small"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    body = {"name": name, "seed": 3, "data": {"source": str(folder / "rows.jsonl")}, "steps": steps}
    curate(recipe_from({**body, "engines": {"default": "builtin"}}), folder / "run")
    return folder / "run"


def seeds(count):
    return [json.loads(line) for line in SEEDS.read_text("utf-8").splitlines()[:count]]


def point_to(server, patch):
    """Make this process know one Hub only, with a token for it."""
    from huggingface_hub import constants

    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "ENDPOINT", server.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setenv("HF_TOKEN", TOKEN)


def hub_environment(server, home):
    """For a process that knows this Hub only."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parent))),
        "HF_ENDPOINT": server.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home / "hf"),
    }
