"""A preview: which rows it takes, what it says of all, and that the second one asks nothing."""

import json
import statistics

import pytest
from datasets import Dataset
from typer.testing import CliRunner

from tagevol_hf.cli import app
from tagevol_hf.engines.base import Reply
from tagevol_hf.engines.store import RequestStore
from tagevol_hf.errors import DataError
from tagevol_hf.plan import StepPlan
from tagevol_hf.preview import by_length, expected
from tagevol_hf.recipe import recipe_from

STEPS = ["aspect_tags", "tag_pool", {"tag_evol": {"budgets": [1]}}, "respond"]


def rows_of(lengths):
    texts = ["x" * length for length in lengths]
    return Dataset.from_dict(
        {
            "id": [f"r{n}" for n in range(len(texts))],
            "instruction": texts,
            "input": [""] * len(texts),
            "response": [""] * len(texts),
        }
    )


def test_a_small_sample_has_the_lengths_of_all():
    lengths = [(n * 37) % 1000 + (5000 if n % 50 == 0 else 0) for n in range(1000)]
    places = by_length(rows_of(lengths), 50, seed=1)
    assert len(set(places)) == 50
    drawn = [lengths[place] for place in places]
    assert statistics.mean(drawn) == pytest.approx(statistics.mean(lengths), rel=0.02)
    assert by_length(rows_of(lengths), 50, seed=2) == places  # all lengths differ here
    assert by_length(rows_of([5] * 40), 4, seed=1) != by_length(rows_of([5] * 40), 4, seed=2)
    assert by_length(rows_of([3, 1]), 9, seed=1) == [0, 1]


@pytest.mark.parametrize(("count", "rows", "message"), [(0, 3, "at least 1 row, got 0"), (1, 0, "has no rows")])
def test_nothing_to_draw(count, rows, message):
    with pytest.raises(DataError, match=message):
        by_length(rows_of(range(rows)), count, seed=1)


def test_a_mean_request_stands_for_all_and_what_was_redrawn_is_added():
    prices = {"default": {"prompt": 1, "completion": 10}}
    body = {"name": "x", "data": {"source": "x"}, "engines": {"default": "builtin"}, "steps": STEPS, "prices": prices}
    names = ("aspect_tags", "tag_evol", "respond")
    whole = [StepPlan(name, 1000, 1000, 3000, "builtin") for name in names]
    small = [StepPlan(name, 10, 10, 30, "builtin") for name in names]
    figures = {"asked": 10, "prompt_tokens": 500, "completion_tokens": 100, "redrawn": {}}
    again = {"asked": 12, "prompt_tokens": 600, "completion_tokens": 120, "redrawn": {"bad_json": 2}}
    made = [{"name": "aspect_tags", **figures}, {"name": "tag_evol", **again}, {"name": "respond", "asked": 0}]
    found = expected(recipe_from(body), whole, {"steps": made}, small)
    assert found.keys() == {"aspect_tags", "tag_evol"}  # the other one was answered by the store
    one, more = found["aspect_tags"], found["tag_evol"]
    assert (one.requests, one.prompt_tokens, one.completion_tokens) == (1000, 50_000, 10_000)
    assert one.cost == pytest.approx(0.05 + 0.1)
    assert (more.requests, more.prompt_tokens) == (1200, 60_000)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"instruction": f"Explain the tide number {n} to {n + 5} pupils.", "input": "=1+1"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = {"name": "few", "data": {"source": "rows.jsonl"}, "engines": {"default": "builtin"}, "steps": STEPS}
    (tmp_path / "curate.yaml").write_text(json.dumps(body))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *arguments])


def test_the_command_shows_rows_figures_and_hours_and_asks_once(place):
    prices = "prices={default: {prompt: 1000, completion: 1000}}"
    first = run("curate.yaml", "--preview", "8", "--set", prices, "--tokens-per-second", "10")
    assert first.exit_code == 0, first.exception
    lines = {line.split()[0]: line.split() for line in first.stdout.splitlines() if line[:1].isalpha()}
    assert lines["tag_evol"][1:4] == ["40", "40", "120"]
    prompt, reply, cost = (float(text.replace(",", "")) for text in lines["total"][3:6])
    assert cost == pytest.approx((prompt + reply) / 1000, abs=0.02)
    assert f"{prompt + reply:,.0f} tokens at 10 a second: {(prompt + reply) / 36000:,.1f} hours" in first.stdout
    assert "From 8 of 40 rows, drawn by length; their run is runs/few-preview" in first.stdout
    assert first.stdout.count("  instruction: Explain the tide number") == 3
    before = (place / "runs" / "few-preview" / "run.json").read_bytes()
    again = run("curate.yaml", "--preview", "8", "--set", prices, "--tokens-per-second", "10")
    assert again.stdout == first.stdout
    assert (place / "runs" / "few-preview" / "run.json").read_bytes() == before
    other = run("curate.yaml", "--preview", "9", "--out", "other")
    assert "From 9 of 40 rows, drawn by length; their run is other" in other.stdout


def test_without_a_preview_nothing_is_asked(place):
    done = run("curate.yaml")
    assert "These are upper bounds" in done.stdout
    assert not (place / "runs").exists()
    wrong = run("curate.yaml", "--tokens-per-second", "10")
    assert "--tokens-per-second needs --preview N" in str(wrong.exception)


def test_the_plan_tells_what_pairs_cost_and_what_the_store_has(place):
    more = [{"open_tags": {}}, {"normalize_tags": {}}, {"cluster": {"k": 2}}, {"compare": {}}, {"select": {"n": 4}}]
    body = {"name": "pairs", "data": {"source": "rows.jsonl"}, "engines": {"default": "builtin"}, "steps": more}
    (place / "pairs.yaml").write_text(json.dumps(body))
    first = run("pairs.yaml")
    lines = [line.split() for line in first.stdout.splitlines()]
    assert ["plan", "1", "a", "row", "2", "a", "row", "4", "a", "row", "8", "a", "row"] in lines
    planned = next(line for line in lines if line[:1] == ["compare"])[2]
    assert next(line for line in lines if line[:1] == ["k-regular"])[2] == planned
    assert "store.sqlite" not in first.stdout
    RequestStore(place / "runs" / "pairs" / "store.sqlite").put("ab" * 32, Reply("a reply", "stop", 1, 1), "m")
    assert "runs/pairs/store.sqlite has 1 replies; what is among them is not asked again." in run("pairs.yaml").stdout
