"""What the README shows works as it stands there, on the built-in engine."""

import json
import re
from pathlib import Path

import yaml

from tagevol_hf.recipe import recipe_from

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seeds = [json.loads(line) for line in (ROOT / "recipes/quickstart/seeds.jsonl").read_text().splitlines()]
    (tmp_path / "alpaca_data.json").write_text(json.dumps(seeds))
    (code,) = blocks("python")
    code = code.replace("vllm:Qwen/Qwen2.5-7B-Instruct", "builtin").replace("n=1000", "n=20")
    code, push = code.rstrip().rsplit("\n", 1)  # the last line needs the Hub
    assert push.startswith("best.selected.push_to_hub(")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["best"].selected) == 20
    assert (tmp_path / "alpaca.sqlite").exists()
    assert callable(names["best"].selected.push_to_hub)
    incoming = len(names["answered"])
    best = names["best"]
    assert incoming == len(best.selected) + len(best.not_chosen) + len(best.rejected) == 3 * len(seeds)


def test_the_recipe_is_valid():
    (text,) = blocks("yaml")
    recipe = recipe_from(yaml.safe_load(text))
    assert recipe.engine("respond") == "vllm:Qwen/Qwen2.5-Math-72B-Instruct"


def test_every_file_that_it_names_is_there():
    table = README[README.index("## The tree") : README.index("## Where to go next")]
    for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", cell)
        for name in names:
            folder = "" if "/" in name else "tagevol_hf/"
            assert (ROOT / f"{folder}{name}").exists(), f"README names {name}"
