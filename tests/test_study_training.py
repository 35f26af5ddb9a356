"""Arms that are really trained and evaluated, in processes as a person starts them. All of it is slow."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from processes import called_with, wait_for, working_in
from test_study import RECIPE, write_seeds

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-c", "from tagevol_hf.cli import main; main()", "compare"]
STUDY = """
name: pair
recipe: curate.yaml
arms:
  one: {set: {baseline.method: random}}
  two: {set: {baseline.method: longest}}
measure: {sample: 0}
train: {sft: sft.yaml, seeds: [3], equal: [tokens], set: {max_steps: 2}}
evaluate:
  tasks: [gsm8k, held_out_loss]
  data: {gsm8k: sums.jsonl}
  limit: 3
  engine: transformers?max_model_len=512
  max_new_tokens: 4
"""
CURATE = RECIPE.replace("tag_evol: {budgets: [1]}", "respond: {}, baseline: {method: random, n: 8}")


def surroundings():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "160", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}


def compare(*arguments, folder):
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=folder, env=surroundings(), timeout=600
    )


def result(out):
    body = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    return {key: body[key] for key in ("trainings", "evaluations", "contrasts")}


def table(said):
    """The lines of the last table."""
    return said.split("\n\n")[-2 if said.split("\n\n")[-1].startswith("note") else -1]


def times(out, pattern):
    return {path: path.stat().st_mtime_ns for path in out.glob(pattern)}


@pytest.mark.slow
def test_three_arms_are_trained_and_the_same_command_gives_the_same_table(tmp_path):
    """The quickstart's own study with one seed in the place of two: 3 arms, a tiny model on the CPU."""
    begun = time.monotonic()
    done = compare("recipes/quickstart", "--set", "train.seeds=[1]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 300
    out = tmp_path / "runs" / "quickstart-arms"
    first = result(out)
    sizes = {(one["arm"], one["seed"]): one["rows"] for one in first["trainings"]}
    assert sizes == {(arm, seed): 32 for arm in ("random", "longest", "tacos") for seed in (1,)}
    assert all(one["status"] == "complete" for one in (*first["trainings"], *first["evaluations"]))
    assert len({one["n"] for one in first["evaluations"]}) == 1
    random, *others = first["contrasts"]
    assert (random["arm"], random["difference"], random["seeds"]) == ("random", None, [1])
    for one in others:
        low, high = one["difference_interval"]
        assert low <= one["difference"] <= high
        assert one["difference"] == pytest.approx(one["mean"] - random["mean"])
    ids = [
        {grade["id"] for grade in json.loads((out / one["file"]).read_text())["grades"]} for one in first["evaluations"]
    ]
    assert all(one == ids[0] for one in ids)  # the same rows for all
    for arm in ("random", "longest", "tacos"):
        selected = json.loads((out / "trained" / f"{arm}.tokens.json").read_text())
        assert len(selected["tokens"]) == 32
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('<circle class="point s0"') >= 2
    assert "Trained and evaluated" in page

    before = times(out, "trained/*/*/t*.json") | times(out, "trained/*/*/evals/*.json")
    assert len(before) >= 3 * 3
    begun = time.monotonic()
    again = compare("recipes/quickstart", "--set", "train.seeds=[1]", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - begun < 60
    assert again.stdout.count("is trained, and nothing has changed") == 3
    assert "asked" not in again.stdout
    assert table(again.stdout) == table(done.stdout)
    assert result(out) == first
    assert before.items() <= (times(out, "trained/*/*/t*.json") | times(out, "trained/*/*/evals/*.json")).items()


@pytest.fixture
def place(tmp_path):
    write_seeds(tmp_path / "seeds.jsonl", 24)
    (tmp_path / "curate.yaml").write_text(CURATE)
    (tmp_path / "study.yaml").write_text(STUDY)
    recipe = yaml.safe_load((ROOT / "recipes" / "quickstart" / "sft-tiny.yaml").read_text())
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(recipe | {"max_steps": 400, "logging_steps": 1}))
    sums = [{"question": f"What is {n} + {n}?", "answer": f"#### {2 * n}"} for n in range(9)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums))
    return tmp_path


@pytest.mark.slow
def test_killed_and_failed_trainings_of_finished_runs_go_on_where_they_ended(place):
    only = compare("study.yaml", "--no-train", folder=place)
    assert only.returncode == 0, only.stderr
    assert not (place / "runs" / "pair" / "trained").exists()
    assert result(place / "runs" / "pair") == {"trainings": [], "evaluations": [], "contrasts": []}

    # Finished runs are trained as the study says; the first of them is the one that the others are compared with.
    out = place / "both"
    two = out / "trained" / "two" / "tokens-seed3"
    runs = [place / "runs" / "pair" / arm for arm in ("one", "two")]
    command = [*runs, "--as", "study.yaml", "--set", "evaluate.against=one", "--out", "both"]

    # Killed while the second is trained: nothing is left behind, and the first one is not trained again.
    with subprocess.Popen(
        [*PROGRAM, *map(str, command)], cwd=place, env=surroundings(), stdout=subprocess.DEVNULL
    ) as child:
        wait_for(lambda: "learned" in read(two / "training.log"), 240)
        child.send_signal(signal.SIGKILL)
        assert child.wait(timeout=20) == -signal.SIGKILL
    wait_for(lambda: not working_in(place), 60)
    assert not called_with(two)
    assert not (two / "train.json").exists()
    before = times(out, "trained/one/*/train.json")

    # The second training fails: it is an outcome, the others are compared, and the status is 2.
    (two / "tokenizer.json").unlink(missing_ok=True)
    (two / "tokenizer.json").mkdir()
    failed = compare(*command, folder=place)
    assert failed.returncode == 2, failed.stdout
    assert failed.stderr.strip().splitlines()[-1] == (
        "error: one and two: 1 trainings or evaluations failed (two/tokens-seed3); the others are compared in both, "
        "the same command tries again"
    )
    assert "note: Training of two (equal tokens, seed 3) failed: " in failed.stdout
    assert times(out, "trained/one/*/train.json") == before
    assert [entry["status"] for entry in result(out)["trainings"]] == ["complete", "failed"]

    # Mended: only what was missing is trained and evaluated.
    (two / "tokenizer.json").rmdir()
    marks = times(out, "trained/one/*/evals/*.json")
    assert {path.name for path in marks} == {"gsm8k.json", "held_out_loss.json", "evaluated.json"}
    done = compare(*command, folder=place)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "2 runs, trained as pair → both" in done.stdout
    assert times(out, "trained/one/*/evals/*.json") == marks
    found = result(out)
    gsm8k = [entry for entry in found["contrasts"] if entry["task"] == "gsm8k"]
    assert [(entry["arm"], entry["n"], entry["difference"] is None) for entry in gsm8k] == [
        ("one", 3, True),
        ("two", 3, False),
    ]
    sizes = [entry["tokens"] for entry in found["trainings"]]
    assert max(sizes) - min(sizes) <= max(json.loads((out / "trained" / "two.tokens.json").read_text())["tokens"])
    assert "note: gsm8k, equal tokens: only 3 problems: the intervals are rough." in done.stdout

    # As they were selected, and the one that they are compared with stands last.
    sections = ["--set", "train.equal=[as_selected]", "--set", "evaluate.tasks=[held_out_loss]"]
    sections += ["--set", "train.set.max_steps=1", "--set", "evaluate.against=one", "--set", "evaluate.data={}"]
    other = compare(*reversed(runs), "--as", "study.yaml", *sections, "--out", "other", folder=place)
    assert other.returncode == 0, other.stderr
    second, first = result(place / "other")["contrasts"]
    assert (first["arm"], first["difference"], second["arm"], second["equal"]) == ("one", None, "two", "as_selected")
    assert second["difference"] is not None


def read(file):
    return file.read_text(errors="replace") if file.exists() else ""
