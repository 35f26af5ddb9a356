"""Files that may be passed on name no user's home; where they name one, they are read again for whoever reads them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in_server import StandInServer

from tagevol_hf.homes import portable, resolved
from tagevol_hf.recipe_file import load_recipe

ROOT = Path(__file__).parents[1]
KEY, TOKEN, URL_KEY = "sk-planted-0123456789", "hf_PlantedTokenOfTheTests1", "UrlKeyPlanted77"
STEPS = """\
  - aspect_tags: {}
  - tag_pool: {}
  - tag_evol: {budgets: [1]}
  - respond: {}
  - open_tags: {}
  - normalize_tags: {embedder: builtin}
  - cluster: {k: 2, embedder: builtin}
  - compare: {}
  - select: {n: 4}
"""


@pytest.fixture
def maria(monkeypatch, tmp_path):
    home = tmp_path / "home" / "maria7"
    home.mkdir(parents=True)
    for name, value in {"HOME": str(home), "USER": "maria7", "LOGNAME": "maria7", "USERNAME": "maria7"}.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{home}/rows.jsonl", "~/rows.jsonl"),
        ("vllm:{home}/models/m?dtype=auto", "vllm:~/models/m?dtype=auto"),
        ("tagevol curate {home}/r.yaml --out {home}", "tagevol curate ~/r.yaml --out ~"),
        ("{home}77/rows.jsonl", "{home}77/rows.jsonl"),
        ("/scratch/maria7/rows.jsonl", "/scratch/$USER/rows.jsonl"),
        ("/scratch/maria77/rows.jsonl", "/scratch/maria77/rows.jsonl"),
        ("about maria7", "about maria7"),
    ],
)
def test_what_is_written_is_read_again(maria, text, written):
    text, written = text.format(home=maria), written.format(home=maria)
    body = {"a": [text], "n": 3, "none": None}
    assert portable(body) == {"a": [written], "n": 3, "none": None}
    if " " not in text:
        assert resolved(portable(body)) == body


def test_a_name_that_tells_nothing_stays(monkeypatch):
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "root")
    assert portable("/scratch/root/rows.jsonl") == "/scratch/root/rows.jsonl"


def test_the_digest_of_a_recipe_is_the_same_for_each_user(maria, monkeypatch, tmp_path):
    head = "name: t\ndata: {source: ~/rows.jsonl}\nengines: {default: builtin}\n"
    (maria / "r.yaml").write_text(f"{head}steps: [{{open_tags: {{}}}}]")
    mine = load_recipe(maria / "r.yaml")
    digest = mine.digest
    assert mine.data.source == str(maria / "rows.jsonl")
    other = tmp_path / "home" / "otto3"
    for name, value in {"HOME": str(other), "USER": "otto3", "LOGNAME": "otto3", "USERNAME": "otto3"}.items():
        monkeypatch.setenv(name, value)
    theirs = load_recipe(maria / "r.yaml")
    assert theirs.data.source == str(other / "rows.jsonl")
    assert theirs.digest == digest


def curate(home, environment, *arguments):
    code = "import sys; from tagevol_hf.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(
        [sys.executable, "-c", code, "curate", *map(str, arguments)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_run_folder_tells_neither_who_made_it_nor_a_key(maria, tmp_path):
    lines = (ROOT / "recipes/quickstart/seeds.jsonl").read_text("utf-8").splitlines(keepends=True)[:12]
    (maria / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    keys = {"OPENAI_API_KEY": KEY, "HF_TOKEN": TOKEN, "TAGEVOL_API_KEY": URL_KEY}
    with StandInServer() as server:
        head = f"name: mine\ndata: {{source: {maria}/rows.jsonl}}\nengines: {{default: '{server.spec}'}}\nsteps:\n"
        (maria / "r.yaml").write_text(head + STEPS)
        planted = head.replace("http://", f"http://user:{URL_KEY}@")
        (maria / "planted.yaml").write_text(planted + STEPS)
        refused = curate(maria, keys, maria / "planted.yaml", "--out", maria / "planted")
        assert refused.returncode == 2
        assert "engines.default holds a key or a password; set TAGEVOL_API_KEY" in refused.stderr
        assert URL_KEY not in refused.stderr + refused.stdout
        assert not (maria / "planted").exists()
        run = maria / "run"
        made = curate(maria, keys, maria / "r.yaml", "--out", run)
        assert made.returncode == 0, made.stderr
        assert server.headers[0]["Authorization"] == f"Bearer {URL_KEY}"
        held = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        assert {"run.json", "recipe.yaml", "report.html", "store.sqlite"} <= {path.name for path in held}
        for path, data in held.items():
            for secret in (KEY, TOKEN, URL_KEY, "maria7"):
                assert secret.encode() not in data, f"{secret} in {path}"
        again = curate(maria, keys, run / "recipe.yaml", "--out", run)
        assert "The engine was asked nothing" in again.stdout, again.stderr
