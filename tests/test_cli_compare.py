"""`tagevol compare` as a person types it, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tagevol_hf.cli import app
from tagevol_hf.errors import RecipeError

ROOT = Path(__file__).parent.parent
PROGRAM = "from tagevol_hf.cli import main; main()"
RECIPE = """
name: base
data: {source: seeds.jsonl}
engines: {default: builtin}
prices: {default: {prompt: 10, completion: 10}}
steps: [aspect_tags: {}, tag_pool: {}, tag_evol: {budgets: [1]}]
"""
STUDY = """
name: two
question: Which budget?
recipe: curate.yaml
arms: {one: {}, two: {set: {tag_evol.budgets: [2]}}}
measure: {sample: 3}
"""


@pytest.fixture
def place(tmp_path):
    things = ["a river delta", "the tides", "prime numbers", "a train timetable", "a rye bread"]
    rows = [json.dumps({"instruction": f"Explain {things[n % 5]} to {n + 5} pupils."}) for n in range(8)]
    (tmp_path / "seeds.jsonl").write_text("\n".join(rows))
    (tmp_path / "curate.yaml").write_text(RECIPE)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def tagevol(*arguments, folder):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=surroundings())


def surroundings():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "160", "NO_COLOR": "1"}


def cells(line):
    return line.split()


@pytest.mark.slow
def test_a_study_goes_from_a_file_to_a_table_a_page_and_figures(place):
    done = tagevol("compare", "study.yaml", "--limit", "6", folder=place)
    assert done.returncode == 0, done.stderr
    out = place / "runs" / "two-limit6"
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["one", "two"]
    lines = {cells(line)[0]: cells(line) for line in done.stdout.splitlines() if line.startswith("  ")}
    assert lines["rows"][:7] == ["rows", "in", "accepted", "rejected", "calls", "a", "row"]
    assert lines["one"][1:7] == ["6", "6", "0.0%", "18", "1.00", "1"]
    assert lines["two"][-1] == "100.0%"
    assert "no language model" in done.stdout
    assert "Which budget?" in (out / "report.html").read_text()
    assert json.loads((out / "compare.json").read_text())["command"] == "tagevol compare study.yaml --limit 6"
    again = tagevol("compare", ".", "--limit", "6", folder=place)
    assert again.stdout.count("is there, and its recipe is the same") == 2
    runs = tagevol("compare", out / "one", out / "two", folder=place)
    assert runs.returncode == 0, runs.stderr
    assert (place / "runs" / "one-vs-two" / "report.html").exists()


@pytest.mark.slow
def test_an_arm_that_fails_is_shown_and_the_status_is_2(place):
    done = tagevol("compare", "study.yaml", "--set", "two:data.max_chars=1", "--out", "here", folder=place)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: two: 1 of 2 arms failed (two); the others are compared in here"
    assert "note: two failed: load: no row is left (too_long 8)" in done.stdout
    assert "failed: load: no row is left" in (place / "here" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("cap", [("--max-requests", "10"), ("--max-tokens", "3000"), ("--max-cost", "0.02")])
def test_a_cap_holds_for_all_arms_together(place, cap):
    done = tagevol("compare", "study.yaml", *cap, folder=place)
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "stopped at the limit" in done.stderr
    assert "not run" in (place / "runs" / "two" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: no such study"),
        (("study.yaml", "curate.yaml"), "expected one study, or run folders (run.json); got study.yaml curate.yaml"),
        (("study.yaml", "--set", "tag_evol.budget=[1]"), 'tag_evol.budget is not a field; did you mean "budgets"?'),
        ((".", "."), "expected a study, or two or more different run folders"),
    ],
)
def test_errors_are_one_line_and_status_2(place, arguments, message):
    done = tagevol("compare", *arguments, folder=place)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (place / "runs").exists()


def test_finished_runs_take_no_settings(place, monkeypatch):
    monkeypatch.chdir(place)
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "run.json").write_text('{"status": "complete"}')
    for options in (("--limit", "3"), ("--set", "train.seeds=[1]"), ("--as", "study.yaml", "--set", "data.limit=3")):
        with pytest.raises(RecipeError, match=r"--set, --limit, --max-… need a study"):
            app(["compare", "a", "b", *options], standalone_mode=False)
    for arguments, message in (
        (("a", "b", "--as", "study.yaml"), "the study two has no section train, so nothing can be trained as it does"),
        (("study.yaml", "--as", "study.yaml"), "--as is for finished runs; a study trains as it says itself"),
    ):
        with pytest.raises(RecipeError, match=f"^compare: {re.escape(message)}$"):
            app(["compare", *arguments], standalone_mode=False)


def status_of(run):
    try:
        return json.loads((run / "run.json").read_text())["status"]
    except OSError:
        return ""


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_where_it_ended(place):
    values = ", ".join(f"[{n}]" for n in range(1, 11))
    text = (
        f"name: s\nrecipe: curate.yaml\nsweep: {{key: tag_evol.budgets, values: [{values}]}}\nmeasure: {{sample: 4}}\n"
    )
    (place / "study.yaml").write_text(text)
    command = [sys.executable, "-c", PROGRAM, "compare", "study.yaml"]
    second = place / "runs" / "s" / "budgets=2"
    with subprocess.Popen(command, cwd=place, env=surroundings(), stdout=subprocess.DEVNULL) as child:
        end = time.monotonic() + 60
        while status_of(second) != "complete" and child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        assert child.wait(timeout=10) == -signal.SIGKILL
    assert status_of(second) == "complete"
    assert status_of(place / "runs" / "s" / "budgets=10") != "complete"
    done = tagevol("compare", "study.yaml", folder=place)
    assert done.returncode == 0, done.stderr
    assert "budgets=2            is there, and its recipe is the same" in done.stdout
    whole = tagevol("compare", "study.yaml", "--out", "whole", folder=place)
    first, other = (json.loads((out / "compare.json").read_text()) for out in (place / "runs" / "s", place / "whole"))
    assert whole.returncode == 0, whole.stderr
    for one, same in zip(first["arms"], other["arms"], strict=True):
        timed = ("asked", "stored", "prompt_tokens", "completion_tokens", "seconds", "cost")  # what the kill cost
        assert {k: v for k, v in one["figures"].items() if k not in timed} == {
            k: v for k, v in same["figures"].items() if k not in timed
        }
