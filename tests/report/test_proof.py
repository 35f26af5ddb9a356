"""What the page shows of trainings, benchmarks and budgets."""

import json
import os

import pytest
from demo_run import build_demo_run

from tagevol_hf.report import write_report
from tagevol_hf.report.measured import read_measures
from tagevol_hf.report.proof import trainings
from tagevol_hf.report.scored import read_scored

RESULT = {
    "task": "gsm8k",
    "metric": "accuracy",
    "mean": 0.4,
    "interval": [0.3, 0.51],
    "n": 98,
    "n_expected": 100,
    "summary": {"unreadable": 2, "note": "text", "flag": True},
}


@pytest.fixture
def folder(tmp_path):
    return build_demo_run(tmp_path / "run")


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def test_results_stand_with_their_intervals_and_what_is_missing(folder):
    write(folder / "mine" / "evals" / "gsm8k.json", RESULT)
    write(folder / "mine" / "evals" / "mt_bench.json", {**RESULT, "task": "mt_bench", "metric": "rating", "mean": 5.5})
    write(folder / "mine" / "evals" / "evaluated.json", {"gsm8k": "digest"})
    write(folder / "mine" / "evals" / "broken.json", '{"task": "gs')
    gsm8k, mt_bench = read_scored(folder)
    assert (gsm8k.model, gsm8k.mean, gsm8k.interval, gsm8k.n, gsm8k.missing) == (
        "mine",
        "40\u00a0%",
        "30\u00a0% to 51\u00a0%",
        98,
        2,
    )
    assert gsm8k.bar == pytest.approx((0.3, 0.21, 0.4))
    assert gsm8k.further == (("unreadable", "2"),)
    assert (mt_bench.mean, mt_bench.interval, mt_bench.bar) == ("5.50", "0.30 to 0.51", None)
    page = write_report(folder).read_text("utf-8")
    assert "30\u00a0% to 51\u00a0%" in page
    assert "2 missing" in page


def test_a_result_without_a_mean_or_an_interval(folder):
    write(folder / "mine" / "evals" / "gsm8k.json", {**RESULT, "mean": None, "interval": None, "n": 0})
    write(folder / "evals" / "ifeval.json", {**RESULT, "task": "<b>if</b>", "interval": None, "n": "many"})
    hostile, empty = read_scored(folder)
    assert (empty.mean, empty.interval, empty.bar, empty.missing) == ("–", "", None, 100)
    assert (hostile.model, hostile.interval) == (folder.name, "")
    assert "<b>if</b>" not in write_report(folder).read_text("utf-8")


def test_each_training_has_its_curves_the_latest_first(folder):
    steps = [{"step": n, "epoch": n / 2, "loss": 3.0 - n / 10} for n in range(1, 6)]
    tasks = [
        {"step": 1, "gsm8k_accuracy": 0.1},
        {"step": 3, "gsm8k_accuracy": None},
        {"step": 5, "gsm8k_accuracy": 0.3},
    ]
    whole = {"model": "Qwen/x", "loss_history": steps, "held_out_history": steps[::2], "task_history": tasks}
    write(folder / "first" / "train.json", whole)
    write(folder / "second" / "train.json", {**whole, "task_history": [], "held_out_history": [{"step": 1, "loss": 2}]})
    write(folder / "third" / "train.json", "{")
    for number, name in enumerate(("second", "first"), 1):
        os.utime(folder / name / "train.json", (2e9 + number, 2e9 + number))
    first, second, *_ = trainings(folder)
    assert (first.name, second.name) == ("first", "second")
    assert [chart.title for chart in first.charts] == ["Training loss", "Held-out loss", "Gsm8k accuracy"]
    assert [chart.title for chart in second.charts] == ["Training loss"]
    assert (first.charts[2].curve.first.text, first.charts[2].curve.last.text) == ("0.10", "0.30")
    page = write_report(folder).read_text("utf-8")
    assert "Gsm8k accuracy, by optimizer step." in page
    assert "third" not in [one.name for one in trainings(folder)]


def test_budgets_grow_into_curves(tmp_path):
    groups = {"all": {"difficulty": 4.4}, **{f"budget {n}": {"difficulty": 4 + n / 5, "odd": 1} for n in (5, 1, 3)}}
    write(tmp_path / "measures.json", {"rows": 9, "groups": groups})
    found = read_measures(tmp_path / "measures.json")
    ((name, by, curve),) = found.growth
    assert (name, by, curve.first.text, curve.last.text) == ("difficulty", "budget", "4.20", "5")
    write(tmp_path / "measures.json", {"rows": 9, "groups": {"all": {"difficulty": 4}, "<b>": {"difficulty": 5}}})
    assert read_measures(tmp_path / "measures.json").growth == ()
