"""`tagevol eval` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import ROOT
from stand_in_server import StandInServer
from toy_task import write

from tagevol_hf.errors import DataError, RecipeError

SUMS = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(4)]


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "gsm8k.jsonl", SUMS)


def tagevol(*arguments, folder):
    code = "import sys; from tagevol_hf.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "eval", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def call(*arguments):
    """In this process, for speed."""
    import typer
    from click.testing import CliRunner

    from tagevol_hf.cli import app

    done = CliRunner().invoke(typer.main.get_command(app), ["eval", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_predictions_are_graded_without_a_model(data, tmp_path):
    texts = [r"\boxed{0}", "It is 2.", "#### 5", "no idea"]
    predictions = write(tmp_path / "p.jsonl", [{"output": text} for text in texts])
    said = call("--task", "gsm8k", "--predictions", predictions, "--data", data)
    assert "gsm8k        accuracy 50.0 % [15.0, 85.0], n = 4 of 4   (right 2, wrong 1, no answer 1)" in said
    body = json.loads(call("--task", "gsm8k", "--predictions", predictions, "--data", f"gsm8k={data}", "--json"))
    assert (body["accuracy"], body["n"], body["n_expected"]) == (0.5, 4, 4)
    assert body["interval"] == pytest.approx([0.15, 0.85], abs=0.001)
    call("--task", "gsm8k", "--predictions", predictions, "--data", data, "--out", tmp_path / "out")
    grades = json.loads((tmp_path / "out" / "gsm8k.json").read_text())["grades"]
    assert [grade["verdict"] for grade in grades] == ["right", "right", "wrong", "no answer"]


def test_a_part_is_refused_unless_it_is_asked_for(data, tmp_path):
    predictions = write(tmp_path / "p.jsonl", [{"output": "0"}, {"output": None}])
    with pytest.raises(DataError, match="2 predictions for 4 problems"):
        call("--task", "gsm8k", "--predictions", predictions, "--data", data)
    said = call("--task", "gsm8k", "--predictions", predictions, "--data", data, "--incomplete", "allow", "--json")
    body = json.loads(said)
    assert (body["accuracy"], body["n"], body["n_expected"], body["verdicts"]["missing"]) == (1.0, 1, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], RecipeError, "eval: expected either a MODEL, or one of --predictions"),
        (["x/y", "--predictions", "p"], RecipeError, "eval: expected either a MODEL, or one of --predictions"),
        (["--predictions", "p"], RecipeError, "p: name the one task that it is of by --task"),
        (["x/y", "--tasks", "gsm8"], RecipeError, '--tasks: gsm8 is not a task; did you mean "gsm8k"?'),
        (["x/y", "--tasks", "gsm8k,math500", "--data", "f"], RecipeError, "--data f: expected TASK=FILE, with one of"),
        (
            ["x/y", "--tasks", "gsm8k", "--data", "none.jsonl"],
            DataError,
            "gsm8k: 'none.jsonl': cannot be read",
        ),
        (["x/y", "--incomplete", "maybe"], RecipeError, "--incomplete: expected refuse or allow, got 'maybe'"),
        (["x/y"], RecipeError, "held_out_loss: needs the folder of a model or of a run that trained one, and x/y"),
        (["./none", "--tasks", "gsm8k"], DataError, "./none: no such folder"),
    ],
)
def test_what_is_wrong_is_said(arguments, error, message):
    with pytest.raises(error) as caught:
        call(*arguments)
    assert message in str(caught.value)


@pytest.mark.slow  # three processes
def test_an_endpoint_is_asked_once_and_then_the_store(data, tmp_path):
    with StandInServer(answer=lambda body: r"\boxed{4}") as server:
        model = f"{server.url}?concurrency=2#stand-in"
        arguments = (model, "--tasks", "gsm8k", "--data", data)
        first = tagevol(*arguments, folder=tmp_path)
        assert first.returncode == 0, first.stderr
        assert "4 problems, 4 requests to http://" in first.stderr
        assert "accuracy 25.0 %" in first.stdout
        assert len(server.bodies) == 4
        again = tagevol(*arguments, "--json", folder=tmp_path)
        assert "0 asked, 4 from the store" in again.stderr
        assert json.loads(again.stdout)["accuracy"] == 0.25
        assert len(server.bodies) == 4
        limited = tagevol(*arguments, "--limit", "2", "--json", folder=tmp_path)
        assert json.loads(limited.stdout)["n_expected"] == 2
    [file] = Path(tmp_path, "runs", "evals").glob("*/gsm8k.json")
    assert json.loads(file.read_text())["engine"].startswith("http://127.0.0.1")


@pytest.mark.slow
def test_a_trained_adapter_and_its_run_folder(data, tmp_path):
    """Real training, then its answers through the engine, and the loss on held-out rows."""
    recipe = ROOT / "recipes" / "quickstart" / "sft-tiny.yaml"
    train = ["--config", str(recipe), "--curated", str(ROOT / "recipes/quickstart"), "--max_steps", "3", "--use_peft"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    script = [sys.executable, str(ROOT / "scripts" / "sft.py")]
    subprocess.run([*script, *train], cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=200)
    options = ("--data", f"gsm8k={data}", "--engine", "transformers?max_model_len=512", "--json")
    done = tagevol("runs/quickstart", "--tasks", "gsm8k,held_out_loss", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    held_out, gsm8k = (json.loads(line) for line in _objects(done.stdout))
    assert held_out["after"]["n"] > 0
    assert (gsm8k["n"], gsm8k["model"]) == (4, "runs/quickstart/sft-tiny")
    assert "lora=" in gsm8k["engine"]


def _objects(text):
    """JSON objects one after the other, whatever lies between them."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text.rstrip()):
        value, place = decoder.raw_decode(text, place)
        yield json.dumps(value)
        place += len(text[place:]) - len(text[place:].lstrip())


def test_recorded_judgments_and_half_of_them(tmp_path):
    data = Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data")) / "mt_bench"
    recorded = data / "gpt4_single_judgments_llama2-13b.jsonl"
    if not recorded.exists():
        pytest.skip(f"needs {recorded} (TAGEVOL_TEST_DATA)")
    said = call("--task", "mt_bench", "--judgments", recorded, "--data", data / "question.jsonl")
    assert "mt_bench     rating 5.47 [" in said
    assert "n = 160 of 160" in said
    body = json.loads(call("--judgments", recorded, "--json"))
    assert (round(body["rating"], 3), body["n"], body["n_expected"]) == (5.469, 160, 160)
    half = tmp_path / "half.jsonl"
    half.write_text("".join(recorded.read_text("utf-8").splitlines(keepends=True)[:80]))
    with pytest.raises(DataError, match="80 of 160 judgments are there"):
        call("--judgments", half)
    assert json.loads(call("--judgments", half, "--incomplete", "allow", "--json"))["n"] == 80
    with pytest.raises(RecipeError, match="--judgments is for --task mt_bench"):
        call("--task", "gsm8k", "--judgments", half)


def test_recorded_preferences_of_several_models():
    data = Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data")) / "alpaca_eval"
    recorded = data / "gpt4turbo_preferences_5models.csv"
    if not recorded.exists():
        pytest.skip(f"needs {recorded} (TAGEVOL_TEST_DATA)")
    with pytest.raises(DataError, match=r"alpaca_eval: only 802 of 805 have a score \(3 missing\)"):
        call("--annotations", recorded)
    bodies = [
        json.loads(line) for line in call("--annotations", recorded, "--incomplete", "allow", "--json").splitlines()
    ]
    assert {body["model"]: round(100 * body["win_rate"], 3) for body in bodies}["claude-2"] == 17.188
    assert len(bodies) == 5
    assert "win rate 2.6 %" in call("--annotations", data / "annotations" / "alpaca-7b.json")
