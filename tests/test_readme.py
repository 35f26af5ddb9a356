"""What the README shows works as it stands there, on the built-in engine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from doc_pages import blocks_of, check_unrun
from stand_in_hub import stand_in_hub

from tagevol_hf.recipe import recipe_from

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SEEDS = [json.loads(line) for line in (ROOT / "recipes/quickstart/seeds.jsonl").read_text("utf-8").splitlines()]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


LOADED = """
from datasets import load_dataset
again = load_dataset("me/alpaca-evolved-1k", split="train")
assert again.to_list() == best.selected.to_list(), again
assert len(answered) == len(best.selected) + len(best.not_chosen) + len(best.rejected)
print(len(again), len(answered))
"""


@pytest.mark.slow
def test_the_ten_lines_up_to_the_hub_and_back(tmp_path):
    """All lines but for the engine's name and the size, against a server that speaks the Hub's protocol."""
    (tmp_path / "alpaca_data.json").write_text(json.dumps(SEEDS))
    (code,) = blocks("python")
    code = code.replace("vllm:Qwen/Qwen2.5-7B-Instruct", "builtin").replace("n=1000", "n=20")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        "HF_TOKEN": "hf_stand_in", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    with stand_in_hub() as hub:
        done = subprocess.run(
            [sys.executable, "-c", code + LOADED],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**environment, "HF_ENDPOINT": hub.url},
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["20", str(3 * len(SEEDS))]
    assert hub.private == {"me/alpaca-evolved-1k"}
    assert any(path.endswith(".parquet") for path in hub.files["me/alpaca-evolved-1k"])
    assert (tmp_path / "alpaca.sqlite").exists()


def test_the_recipe_is_valid():
    (text,) = blocks("yaml")
    recipe = recipe_from(yaml.safe_load(text))
    assert recipe.engine("respond") == "vllm:Qwen/Qwen2.5-Math-72B-Instruct"


def test_its_commands_and_their_options_are_there():
    shown = [block for block in blocks_of(README) if block.language == "sh"]
    assert sum(block.text.count("tagevol ") for block in shown) >= 12
    for block in shown:
        check_unrun(block, f"line {block.line}: ")


def test_its_links_lead_to_files():
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_file_that_it_names_is_there():
    table = README[README.index("## The tree") : README.index("## Where to go next")]
    for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            folder = "" if "/" in name else "tagevol_hf/"
            assert (ROOT / f"{folder}{name}").exists(), f"README names {name}"
    places = re.findall(r"`tagevol_hf/engines/` \| (.*?) \|", table)[0]
    for name in re.findall(r"`([^`]+)`", places):
        assert (ROOT / "tagevol_hf/engines" / name).exists(), f"README names {name}"


def test_the_files_that_contributing_names_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| a")]
    named = [path for line in table for path in re.findall(r"`([\w/.]+/[\w.]+)`", line)]
    assert len(table) >= 12
    for path in named:
        place = ROOT / path
        assert place.parent.is_dir() if "NAME" in path else place.is_file(), path
