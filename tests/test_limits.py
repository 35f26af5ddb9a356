"""Caps, prices and the figures of a run, against servers that speak OpenAI's protocol; what is shown meanwhile."""

import io
import json
import sys

import pytest
from datasets import Dataset
from stand_in_server import StandInServer
from test_cli import QUICKSTART, tagevol
from test_pipeline import seeds, write_seeds

from tagevol_hf import progress as progress_module
from tagevol_hf.engines.base import Reply
from tagevol_hf.engines.usage import Meter, Prices, Usage
from tagevol_hf.errors import LimitError, RecipeError
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from


def recipe(tmp_path, engine, **more):
    source = tmp_path / "seeds.jsonl"
    return recipe_from(
        {
            "name": "limits",
            "data": {"source": str(source if source.exists() else write_seeds(source, seeds(40)))},
            "engines": {"default": engine},
            "steps": [{"open_tags": {}}],
            **more,
        }
    )


def test_a_run_stopped_by_a_cap_is_resumed_to_the_same_result(tmp_path):
    with StandInServer() as server:
        whole = curate(recipe(tmp_path, server.spec), tmp_path / "whole")
        capped = recipe(tmp_path, server.spec, limits={"max_requests": 15})
        for expected in (15, 30):
            with pytest.raises(LimitError, match="max_requests is 15, 15 spent"):
                curate(capped, tmp_path / "run")
            record = json.loads((tmp_path / "run" / "run.json").read_text())
            assert (record["status"], record["asked"]) == ("stopped", 15)
            assert record["stopped_by"].startswith("stopped at the limit")
            assert len(server.bodies) == 40 + expected
        resumed = curate(capped, tmp_path / "run")
    assert resumed.record["status"] == "complete"
    assert "stopped_by" not in resumed.record
    assert resumed.record["totals"]["asked"] == 10
    assert resumed.selected.to_list() == whole.selected.to_list()
    assert resumed.record["digest"] == whole.record["digest"], "a cap changes no row"


def test_cost_and_rates_are_in_the_record(tmp_path):
    prices = {"default": {"prompt": 2.0, "completion": 8.0, "cached": 1.0}}
    with StandInServer() as server:
        step = curate(recipe(tmp_path, server.spec, prices=prices), tmp_path / "run").record["steps"][-1]
    cost = (step["prompt_tokens"] - 40) * 2e-6 + 40 * 1e-6 + step["completion_tokens"] * 8e-6
    assert step["cost"] == pytest.approx(cost, abs=1e-5)
    assert step["cached_tokens"] == 40
    assert step["cached_share"] == pytest.approx(40 / step["prompt_tokens"], abs=1e-4)
    assert step["requests_per_second"] == pytest.approx(40 / step["seconds"], rel=0.02)
    assert (step["redrawn"], step["failed"]) == ({}, {})


def test_replies_that_were_asked_again_are_counted_by_reason(tmp_path):
    def answer(body):
        return "no JSON" if body.get("seed") is None else '{"tags": [{"tag": "a", "explanation": "b"}]}'

    with StandInServer(answer=answer) as server:
        step = curate(recipe(tmp_path, server.spec), tmp_path / "run").record["steps"][-1]
    assert step["redrawn"] == {"not_json": 40}
    assert (step["asked"], step["rows_out"]) == (80, 40)


@pytest.mark.slow
def test_the_share_of_each_server_is_in_the_record_and_shown(tmp_path):
    write_seeds(tmp_path / "seeds.jsonl", seeds(40))
    with StandInServer(latency=0.01) as first, StandInServer(latency=0.01) as second:
        pool = f"{first.url},{second.url}?concurrency=4#stand-in"
        settings = [f"engines.default={pool}", f"data.source={tmp_path / 'seeds.jsonl'}", "data.columns={}"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        steps = ["--out", str(tmp_path / "run")]
        done = tagevol("curate", QUICKSTART, *arguments, *steps, folder=tmp_path)
        counts = [len(first.bodies), len(second.bodies)]
    assert done.returncode == 0, done.stderr
    served = json.loads((tmp_path / "run" / "run.json").read_text())["engines"]["default"]["served"]
    assert served == {first.url: counts[0], second.url: counts[1]}
    assert min(counts) > 0.3 * sum(counts)
    assert f"Answered by: {first.url} {counts[0]:,}, {second.url} {counts[1]:,}" in done.stdout


@pytest.mark.slow
def test_the_command_line_stops_with_status_3_and_goes_on_without_the_cap(tmp_path):
    command = ("curate", QUICKSTART, "--limit", "12", "--set", "select.n=9")
    stopped = tagevol(*command, "--max-requests", "20", folder=tmp_path)
    assert stopped.returncode == 3, stopped.stderr
    assert "stopped at the limit (max_requests is 20, 20 spent" in stopped.stderr
    assert "the same command goes on from here" in stopped.stderr
    done = tagevol(*command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    totals = json.loads((folder / "run.json").read_text())["totals"]
    assert totals["stored"] >= 20


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"limits": {"max_cost": 5}}, r"limits.max_cost needs the prices of a million tokens, as prices: \{default"),
        ({"limits": {"max_request": 5}}, r'limits.max_request is not a field; did you mean "max_requests"\?'),
        ({"limits": {"max_tokens": 0}}, r"limits.max_tokens: .*greater than or equal to 1, got 0"),
        ({"prices": {"defalt": {"prompt": 1}}}, r'prices: defalt is not one of the engines; did you mean "default"\?'),
        ({"prices": {"default": {"promt": 1}}}, r'prices.default.promt is not a field; did you mean "prompt"\?'),
        ({"prices": {"default": {"prompt": -1}}}, r"prices.default.prompt: .*greater than or equal to 0, got -1"),
    ],
)
def test_wrong_caps_and_prices_are_named(tmp_path, more, message):
    with pytest.raises(RecipeError, match=message):
        recipe(tmp_path, "builtin", **more)


def test_the_line_of_figures():
    usage = Usage()
    meter = Meter(usage)
    for _ in range(4):
        usage.count(Reply("x", "stop", 100, 20, 50), Prices(10, 10))
    usage.stored, usage.redrawn["not_json"] = 7, 2
    usage.count(Reply("", "error", reason="timeout"))
    line = meter.line()
    assert "requests/s" in line
    assert "tokens/s, 50% of the prompts cached, 7 from the store, asked again: not_json 2, failed: timeout 1, " in line
    assert line.endswith("cost 0.0048")


def test_without_a_terminal_there_is_a_line_a_minute(monkeypatch):
    said = io.StringIO()
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: float(next(clock)))
    with progress_module.progress("open_tags", 10, lambda: "5 requests/s") as advance:
        for _ in range(7):
            advance()
    lines = said.getvalue().splitlines()
    assert lines == [
        "open_tags: 3 of 10, 0:02:20 left, 5 requests/s",
        "open_tags: 6 of 10, 0:01:20 left, 5 requests/s",
    ]


def test_on_a_terminal_there_is_a_bar_with_the_figures(monkeypatch):
    said = io.StringIO()
    said.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(progress_module, "_BAR_SECONDS", 0.0)
    with progress_module.progress("open_tags", 10, lambda: "5 requests/s") as advance:
        advance(4)
    assert "open_tags" in said.getvalue()
    assert "4/10" in said.getvalue()
    assert "5 requests/s" in said.getvalue()


def test_rows_are_the_same_with_and_without_prices(tmp_path):
    with StandInServer() as server:
        plain = curate(recipe(tmp_path, server.spec), tmp_path / "a").selected
        priced = curate(recipe(tmp_path, server.spec, prices={"default": {"prompt": 1}}), tmp_path / "b").selected
    assert isinstance(plain, Dataset)
    assert plain.to_list() == priced.to_list()
