"""The whole journey on the built-in engine: accounts that add up, restarts, bad input."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset, load_from_disk

from tagevol_hf.errors import DataError
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from

ROOT = Path(__file__).parent.parent

TEXTS = ["Describe", "Compare", "Explain", "Plan", "Calculate", "Translate"]
THINGS = [
    "a river delta",
    "the tides",
    "prime numbers",
    "a train timetable",
    "a rye bread",
    "an old map",
    "a tax form",
]


def seeds(count=24):
    return [
        {
            "instruction": f"{TEXTS[n % 6]} {THINGS[n % 7]} for a class of {n + 5} pupils.",
            "input": "",
            "output": f"Answer {n}.",
        }
        for n in range(count)
    ]


def write_seeds(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


STEPS = [
    {"aspect_tags": {}},
    {"tag_pool": {}},
    {"tag_evol": {"budgets": [1, 3]}},
    {"respond": {}},
    {"open_tags": {}},
    {"normalize_tags": {}},
    {"cluster": {"k": 4}},
    {"compare": {}},
    {"select": {"n": 16}},
]


def recipe(source, steps=STEPS, **changes):
    return recipe_from(
        {
            "name": "t",
            "data": {"source": str(source)},
            "engines": {"default": "builtin"},
            "steps": steps,
            **changes,
        }
    )


def result(run):
    return [{**row} for row in run.selected]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_seeds(tmp_path_factory.mktemp("data") / "seeds.jsonl", seeds())


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    return curate(recipe(source), tmp_path_factory.mktemp("run") / "r")


def test_every_row_is_accounted_for(whole):
    totals = whole.record["totals"]
    assert whole.record["status"] == "complete"
    assert (totals["read"], totals["added"], totals["selected"]) == (24, 24, 16)
    assert totals["read"] + totals["added"] == totals["selected"] + totals["not_chosen"] + sum(
        totals["rejected"].values()
    )
    assert (len(whole.selected), len(whole.not_chosen)) == (16, totals["not_chosen"])
    for step in whole.record["steps"]:
        assert step["rows_in"] + step["added"] == step["rows_out"] + step["not_chosen"] + sum(step["rejected"].values())
    names = [step["name"] for step in whole.record["steps"]]
    assert names == ["load", *(next(iter(step)) for step in STEPS)]


def test_the_run_folder_holds_what_it_promises(whole):
    names = {path.name for path in whole.path.iterdir()}
    assert {"recipe.yaml", "store.sqlite", "steps", "tag_pool.json", "tags.json", "clusters.json", "comparisons",
            "selected", "not_chosen", "rejected", "run.json"} <= names  # fmt: skip
    assert not [name for name in names if name.startswith(".") and name != ".lock"]
    assert whole.record["engines"]["default"]["language_model"] is False
    assert whole.record["engines"]["default"]["identity"].startswith("builtin@")
    row = whole.selected[0]
    assert len(row["chosen_tags"]) == row["budget"]
    assert row["why"]
    assert load_from_disk(str(whole.path / "steps" / "04-tag_evol"))[0]["seed_id"]


def test_a_second_run_asks_nothing_and_gives_the_same(whole, source):
    before = result(whole)
    again = curate(recipe(source), whole.path)
    assert again.record["totals"]["asked"] == 0
    assert again.record["totals"]["stored"] == whole.record["totals"]["asked"] + whole.record["totals"]["stored"]
    assert result(again) == before


def test_shuffled_seeds_give_the_same_rows(whole, tmp_path):
    rows = seeds()
    random.Random(5).shuffle(rows)
    shuffled = curate(recipe(write_seeds(tmp_path / "s.jsonl", rows)), tmp_path / "r")
    assert result(shuffled) == result(whole)


KILLED = """
import sys, threading, os, signal, time
from tagevol_hf.engines import store
from tests.test_pipeline import curate, recipe
put_all, count = store.RequestStore.put_all, 0
def fatal(self, replies, engine):
    global count
    held = put_all(self, replies, engine)
    count += len(replies)
    if count >= {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    return held
store.RequestStore.put_all = fatal
curate(recipe({source!r}), {folder!r})
"""


@pytest.mark.parametrize(
    "count", [60, pytest.param(5, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_and_asks_nothing_twice(whole, source, tmp_path, count):
    script = KILLED.format(count=count, source=str(source), folder=str(tmp_path / "r"))
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "running"
    again = curate(recipe(source), tmp_path / "r")
    first = whole.record["totals"]
    assert again.record["totals"]["asked"] == _asked_first(whole) - count
    assert again.record["totals"]["asked"] + again.record["totals"]["stored"] == first["asked"] + first["stored"]
    assert result(again) == result(whole)


def _asked_first(whole):
    from tagevol_hf.engines.store import RequestStore

    return len(RequestStore(whole.path / "store.sqlite"))


@pytest.mark.slow
def test_an_edited_recipe_asks_only_what_changed(whole, source, tmp_path):
    folder = tmp_path / "r"
    first = curate(recipe(source), folder).record["totals"]["asked"]
    steps = json.loads(json.dumps(STEPS).replace('"respond": {}', '"respond": {"max_tokens": 500}'))
    again = {step["name"]: step for step in curate(recipe(source, steps), folder).record["steps"]}
    assert (again["aspect_tags"]["asked"], again["tag_evol"]["asked"], again["respond"]["asked"]) == (
        0,
        0,
        48,
    )
    assert first > 48
    curate(recipe(source, STEPS[:2]), folder)
    assert sorted(path.name for path in (folder / "steps").iterdir()) == ["01-load", "02-aspect_tags"]
    assert not (folder / "comparisons").exists()


def test_bad_rows_are_rejected_with_reasons_and_kept(tmp_path):
    rows = [
        *seeds(6),
        {"instruction": "", "output": "x"},
        {"instruction": None, "output": "y"},
        {"instruction": "z" * 100_000},
    ]
    rows = [{"id": f"r{min(place, 7)}", **row} for place, row in enumerate(rows)]
    run = curate(recipe(write_seeds(tmp_path / "s.jsonl", rows), STEPS[:4]), tmp_path / "r")
    assert run.record["totals"]["rejected"] == {"duplicate_id": 1, "empty_instruction": 2}
    assert len(run.rejected) == 3
    assert {row["id"]: row["rejection"]["stage"] for row in run.rejected} == {
        "r6": "load",
        "r7": "load",
        "r7#2": "load",
    }
    assert len(run.rejected[2]["instruction"]) == 100_000


def test_a_recipe_without_selection_selects_all(source, tmp_path):
    run = curate(recipe(source, STEPS[:4]), tmp_path / "r")
    assert (len(run.selected), len(run.not_chosen), len(run.rejected)) == (48, 0, 0)


def test_an_empty_data_set_is_refused(tmp_path):
    (tmp_path / "s.jsonl").write_text("")
    with pytest.raises(DataError, match=r"data.source '.*s.jsonl': "):
        curate(recipe(tmp_path / "s.jsonl"), tmp_path / "r")
    Dataset.from_dict({"instruction": []}).save_to_disk(tmp_path / "empty")
    with pytest.raises(DataError, match="the data set has no rows"):
        curate(recipe(tmp_path / "empty"), tmp_path / "r")


def test_when_no_row_is_left_the_reasons_are_said(tmp_path):
    path = write_seeds(tmp_path / "s.jsonl", [{"instruction": " "}, {"instruction": "x" * 60_000}])
    with pytest.raises(DataError, match=r"load: no row is left \(empty_instruction 1, too_long 1\); .*rejected"):
        curate(recipe(path), tmp_path / "r")
    assert len(load_from_disk(str(tmp_path / "r" / "rejected"))) == 2


@pytest.mark.slow
def test_two_processes_do_not_work_on_one_run(source, tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.test_pipeline import recipe\n"
        "from tagevol_hf.run_folder import RunFolder\n"
        f"with RunFolder(Path({str(tmp_path / 'r')!r}), recipe({str(source)!r})):\n"
        "    print('in', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        try:
            assert other.stdout.readline() == "in\n"
            with pytest.raises(DataError, match="another process is working on this run"):
                curate(recipe(source), tmp_path / "r")
        finally:
            os.kill(other.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert curate(recipe(source, STEPS[:2]), tmp_path / "r").record["status"] == "complete"


@pytest.mark.slow
def test_an_unreachable_server_and_a_missing_model_are_one_clear_line(source, tmp_path):
    from tagevol_hf.errors import EngineError

    with pytest.raises(EngineError, match=r"http://127.0.0.1:9/v1.*cannot reach") as fault:
        curate(recipe(source, engines={"default": "http://127.0.0.1:9/v1#m"}), tmp_path / "a")
    assert "\n" not in str(fault.value)
    with pytest.raises(EngineError, match="not/there") as fault:
        curate(recipe(source, engines={"default": f"vllm:{tmp_path}/not/there"}), tmp_path / "b")
    assert "\n" not in str(fault.value)
    with pytest.raises(EngineError, match="engine 'gpt': expected builtin"):
        curate(recipe(source, engines={"default": "gpt"}), tmp_path / "c")


def test_rejections_of_several_steps_stand_in_one_data_set(tmp_path):
    rows = [*seeds(20), {"instruction": "", "input": "", "output": "x"}]
    short = json.loads(json.dumps(STEPS).replace('"budgets": [1, 3]', '"budgets": [1, 3], "max_chars": 120'))
    short[3] = {"respond": {"max_tokens": 60}}
    run = curate(recipe(write_seeds(tmp_path / "s.jsonl", rows), short), tmp_path / "r")
    totals = run.record["totals"]
    assert totals["rejected"]["empty_instruction"] == 1
    assert totals["rejected"]["wrong_schema"] > 0
    assert totals["rejected"]["truncated"] > 0
    assert len(run.rejected) == sum(totals["rejected"].values())
    assert len(run.selected) + len(run.not_chosen) + len(run.rejected) == 21 + 20
    by_stage = {row["rejection"]["stage"]: row for row in run.rejected}
    assert by_stage["load"]["seed_id"] is None
    assert by_stage["tag_evol"]["budget"] in (1, 3)
    assert by_stage["respond"]["rejection"]["attempts"] == 2
    assert by_stage["respond"]["rejection"]["raw"]
