"""The command line as a person types it, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUICKSTART = str(ROOT / "recipes" / "quickstart")


def tagevol(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-c", "from tagevol_hf.cli import main; main()", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "NO_COLOR": "1"},
    )


def test_help_names_every_command(tmp_path):
    done = tagevol("--help", folder=tmp_path)
    assert done.returncode == 0
    for command in ("run", "curate", "train", "eval", "report", "plan", "compare"):
        assert f"  {command}" in done.stdout
    assert "tagevol run recipes/quickstart" in done.stdout


@pytest.mark.slow
def test_curate_twice(tmp_path):
    first = tagevol("curate", QUICKSTART, "--limit", "12", "--set", "select.n=9", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("quickstart-limit12-")
    assert "no language model" in first.stdout
    assert "rows in" in first.stdout
    assert (folder / "report.html").exists()
    assert json.loads((folder / "run.json").read_text())["totals"]["selected"] == 9
    again = tagevol("curate", QUICKSTART, "--set", "select.n=9", "--limit", "12", folder=tmp_path)
    assert "The engine was asked nothing" in again.stdout
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folder.name]


@pytest.mark.slow
def test_run_goes_from_seeds_to_a_model_and_a_report(tmp_path):
    command = ("run", QUICKSTART, "--limit", "10", "--set", "select.n=16", "--accelerate", "cpu")
    done = tagevol(*command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    record = json.loads((folder / "sft-tiny" / "train.json").read_text())
    result = json.loads((folder / "sft-tiny" / "eval.json").read_text())
    assert record["rows"] == 16
    assert record["last_loss"] < record["first_loss"] - 1
    assert result["after"]["loss"] < result["before"]["loss"]
    assert f"{result['after']['loss']:.3f} after training" in done.stdout
    assert "held-out" in (folder / "report.html").read_text().lower()
    again = tagevol(*command, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "The engine was asked nothing" in again.stdout
    assert "already trained: nothing to do" in again.stdout
    assert "already measured: nothing to do" in again.stdout
    assert json.loads((folder / "sft-tiny" / "eval.json").read_text()) == result
    assert json.loads((folder / "sft-tiny" / "train.json").read_text()) == record
    sft = f"{QUICKSTART}/sft-tiny.yaml"
    other = tagevol("train", folder, "--sft", sft, "--accelerate", "cpu", "--num_train_epochs", "1", folder=tmp_path)
    assert other.returncode == 0, other.stderr
    assert not (folder / "sft-tiny" / "eval.json").exists()  # what was measured was another model


@pytest.mark.slow
def test_plan_counts_requests_and_asks_nothing(tmp_path):
    done = tagevol("plan", "recipes/quickstart", "--limit", "10", folder=tmp_path)  # the project's own, from anywhere
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert lines["aspect_tags"][1:4] == ["10", "10", "30"]
    assert lines["tag_evol"][1:4] == ["30", "30", "90"]
    assert lines["respond"][1:4] == ["30", "30", "60"]
    assert lines["compare"][1:3] == ["30", "60"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("curate", "nowhere"),
            "nowhere: no such recipe; give a YAML file or a folder that holds curate.yaml",
        ),
        pytest.param(
            ("curate", QUICKSTART, "--set", "data.source=none.jsonl"),
            "data.source 'none.jsonl': cannot be read (no such file)",
            marks=pytest.mark.slow,
        ),
        (
            ("curate", QUICKSTART, "--set", "tag_evol.budget=[1]"),
            'tag_evol.budget is not a field; did you mean "budgets"?',
        ),
        pytest.param(
            ("curate", QUICKSTART, "--set", "engines.default=gpt-9"),
            "engine 'gpt-9': expected builtin",
            marks=pytest.mark.slow,
        ),
        pytest.param(("report", "nowhere"), "nowhere: not a run folder", marks=pytest.mark.slow),
        (("train", "nowhere", "--sft", "none.yaml"), "none.yaml: no such training recipe"),
    ],
)
def test_errors_are_one_line_and_status_2(tmp_path, arguments, message):
    done = tagevol(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_a_missing_column_lists_those_that_are_there(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    done = tagevol("curate", QUICKSTART, "--set", "data.source=x.jsonl", folder=tmp_path)
    assert done.returncode == 2
    assert "the data set has: question, answer" in done.stderr
    columns = "data.columns={instruction: question, response: answer}"
    settings = ("--set", "data.source=x.jsonl", "--set", columns, "--set", "tag_evol.budgets=[1]")
    done = tagevol("curate", QUICKSTART, *settings, folder=tmp_path)
    assert "too_few_candidates 1" in done.stderr
