"""A run in shards: each asks its own part, the replies are merged, and the result is that of one process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from processes import wait_for
from stand_in_server import StandInServer, error
from test_cli import tagevol
from test_pipeline import STEPS, recipe, seeds, write_seeds

from tagevol_hf.engines.store import RequestStore
from tagevol_hf.errors import DataError, EngineError, LimitError, RecipeError
from tagevol_hf.pipeline import STEPS as ALL_STEPS
from tagevol_hf.pipeline import curate
from tagevol_hf.pipeline.merging import merge_shards
from tagevol_hf.pipeline.shards import KINDS, Shard, curate_shard

pytestmark = pytest.mark.slow  # runs in several processes or passes

ROOT = Path(__file__).parent.parent
TAGGED = [{"open_tags": {}}]


def in_shards(given, folder, of=2, phases=9):
    """All phases, one shard after the other; gives how each phase's shards ended."""
    ended = []
    for _ in range(phases):
        ended.append([curate_shard(given, Shard(number, of), folder) for number in range(1, of + 1)])
        if merge_shards(folder, lambda line: None):
            return ended
    raise AssertionError("it does not end")


def results(run):
    return {name: getattr(run, name).to_list() for name in ("selected", "not_chosen", "rejected")}


def plain(body):
    return json.dumps(body, sort_keys=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_seeds(tmp_path_factory.mktemp("data") / "seeds.jsonl", seeds())


def test_every_step_is_classified():
    assert list(KINDS) == list(ALL_STEPS)


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "", "1/0", "1", "-1/4", "1/4/2", "1.5/4"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(RecipeError, match="--shard: expected a number and how many there are, as 1/16 to 16/16, got"):
        Shard.read(text)


def test_every_row_has_one_shard_whatever_the_order(source):
    names = [f"row {number}" for number in range(1000)]
    owners = [[shard for shard in range(1, 17) if Shard(shard, 16).has(name)] for name in names]
    assert all(len(owner) == 1 for owner in owners)
    counts = [owners.count([shard]) for shard in range(1, 17)]
    assert min(counts) > 35
    assert str(Shard.read(" 3/16 ")) == "3/16"


def test_one_step_needs_one_phase_and_the_whole_run_asks_nothing(source, tmp_path):
    given = recipe(source, TAGGED)
    (phase,) = in_shards(given, tmp_path / "run", of=3)
    assert sum(end.asked for end in phase) == 24
    assert all(end.asked > 0 and end.status == "complete" for end in phase)
    assert str(phase[2]) == (
        f"shard 3/3: asked all that it can: {phase[2].asked} requests up to open_tags; when all shards are done: "
        f"tagevol store merge {tmp_path / 'run'}, then tagevol curate RECIPE"
    )
    run = curate(given, tmp_path / "run")
    assert (run.record["totals"]["asked"], run.record["totals"]["stored"]) == (0, 24)
    assert results(run) == results(curate(given, tmp_path / "whole"))
    again = curate_shard(given, Shard(1, 3), tmp_path / "run")
    then = f"tagevol store merge {tmp_path / 'run'}, then tagevol curate RECIPE"
    assert (str(again), again.asked) == (f"shard 1/3: nothing left to ask; now: {then}", 0)
    assert not (Shard(1, 3).folder(tmp_path / "run") / "steps").exists()


def test_all_phases_of_the_combined_recipe_give_the_result_of_one_process(source, tmp_path):
    given = recipe(source)
    phases = in_shards(given, tmp_path / "run")
    assert [phase[0].waits_for for phase in phases] == ["tag_pool", "normalize_tags", "compare", ""]
    assert json.loads((Shard(1, 2).folder(tmp_path / "run") / "run.json").read_text())["status"] == "complete"
    run, whole = curate(given, tmp_path / "run"), curate(given, tmp_path / "whole")
    assert run.record["totals"]["asked"] == 0
    assert sum(end.asked for phase in phases for end in phase) == len(RequestStore(tmp_path / "run" / "store.sqlite"))
    assert results(run) == results(whole)


@pytest.mark.parametrize(
    "steps",
    [
        [{"evol_instruct": {"rounds": 2}}, {"respond": {}}],
        [{"optimize_method": {"steps": 1}}, {"auto_evol": {"rounds": 1}}],
        [{"baseline": {"method": "deita", "n": 8}}, {"measure": {"sample": 6}}],
        [*STEPS[4:7], {"compare": {"plan": "swiss", "comparisons": 2}}, {"select": {"n": 6}}, {"refine": {}}],
        [{"open_tags": {"turns": "each"}}, {"respond": {}}, {"agree": {}}, {"single_score": {}}],
    ],
    ids=["evol-instruct", "auto-evol", "deita", "swiss", "agree"],
)
def test_other_recipes_in_shards_give_the_result_of_one_process(source, tmp_path, steps):
    given = recipe(source, steps)
    with StandInServer() as server:
        given = recipe(source, steps, engines={"default": server.spec}) if "rounds" not in str(steps) else given
        phases = in_shards(given, tmp_path / "run", phases=20)
        asked = len(server.bodies)
        run = curate(given, tmp_path / "run")
        assert len(server.bodies) == asked
        assert len({plain(body) for body in server.bodies}) == asked
        assert results(run) == results(curate(given, tmp_path / "whole"))
    assert run.record["totals"]["asked"] == 0
    assert sum(end.asked for phase in phases for end in phase) > 0


def test_a_request_that_failed_holds_nobody_up_and_is_asked_again_by_the_whole_run(source, tmp_path):
    def script(number, body):
        return error(400, "too long") if "of 7 pupils" in body["messages"][-1]["content"] else None

    with StandInServer(script) as server:
        given = recipe(source, [*TAGGED, {"respond": {}}, {"baseline": {"method": "alpagasus", "n": 5}}],
                       engines={"default": server.spec})  # fmt: skip
        in_shards(given, tmp_path / "run")
        before = len(server.bodies)
        run = curate(given, tmp_path / "run")
        assert len(server.bodies) == before + 1
        whole = curate(given, tmp_path / "whole")
    assert [row["rejection"]["stage"] for row in run.rejected] == ["open_tags"]
    assert results(run) == results(whole)


def test_caps_hold_for_each_job_and_the_same_command_goes_on(source, tmp_path):
    capped = recipe(source, TAGGED, limits={"max_requests": 5})
    with pytest.raises(LimitError, match="max_requests is 5, 5 spent"):
        curate_shard(capped, Shard(1, 2), tmp_path)
    done = curate_shard(recipe(source, TAGGED), Shard(1, 2), tmp_path)
    assert done.asked + 5 == len(RequestStore(Shard(1, 2).folder(tmp_path) / "store.sqlite"))


def test_a_shard_without_rows_waits_for_the_others(tmp_path):
    given = recipe(write_seeds(tmp_path / "seeds.jsonl", seeds(1)), [*TAGGED, {"respond": {}}])
    ends = [curate_shard(given, Shard(number, 8), tmp_path / "run") for number in range(1, 9)]
    assert sorted(end.asked for end in ends) == [0] * 7 + [2]
    assert merge_shards(tmp_path / "run", lambda line: None)
    assert curate(given, tmp_path / "run").record["totals"]["asked"] == 0


def test_the_same_shard_twice_and_the_run_beside_its_shards_are_refused(source, tmp_path):
    given, folder = recipe(source, TAGGED), Shard(1, 2).folder(tmp_path)
    curate_shard(given, Shard(1, 2), tmp_path)
    with filelock.FileLock(folder / ".lock"):
        with pytest.raises(DataError, match="1-of-2: another process is working on this run; wait"):
            curate_shard(given, Shard(1, 2), tmp_path)
        with pytest.raises(DataError, match="1-of-2: another process is working on this shard; wait"):
            curate(given, tmp_path)
        with pytest.raises(DataError, match=r"1-of-2: another process is working on it; .*\(nothing was merged\)"):
            merge_shards(tmp_path, lambda line: None)
        assert not (tmp_path / "store.sqlite").exists()
        assert curate_shard(given, Shard(2, 2), tmp_path).asked > 0
    assert merge_shards(tmp_path, lambda line: None)


def test_a_shard_beside_the_whole_run_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr("tagevol_hf.pipeline.shards._PATIENCE", 0.05)
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(DataError, match="works on the whole run, or merges"):
        curate_shard(recipe(source, TAGGED), Shard(1, 2), tmp_path)


def test_a_damaged_shard_is_named_and_the_others_are_merged(source, tmp_path):
    given, said = recipe(source, TAGGED), []
    first, second = (curate_shard(given, Shard(number, 2), tmp_path) for number in (1, 2))
    file = Shard(1, 2).folder(tmp_path) / "store.sqlite"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(EngineError, match=r"1-of-2/store.sqlite: damaged .* verify .* --rescue NEW, and put NEW in"):
        merge_shards(tmp_path, said.append)
    assert f"  2-of-2: {second.asked} new replies (complete)" in said
    done = tagevol("store", "verify", file, "--rescue", tmp_path / "new.sqlite", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "new.sqlite").replace(file)
    again = curate_shard(given, Shard(1, 2), tmp_path)
    assert again.asked <= first.asked
    assert merge_shards(tmp_path, said.append)
    assert curate(given, tmp_path).record["totals"]["asked"] == 0


def test_what_is_not_done_is_said_by_the_merge(source, tmp_path):
    said = []
    with pytest.raises(DataError, match="there are no shards; ask for one by: tagevol curate RECIPE --shard 1/4"):
        merge_shards(tmp_path, said.append)
    curate_shard(recipe(source, TAGGED), Shard(2, 3), tmp_path)
    assert not merge_shards(tmp_path, said.append)
    assert said[-1] == "not run to their end: 1/3, 3/3; run them again, then merge again"


def test_a_run_that_was_begun_in_one_process_goes_on_in_shards(source, tmp_path):
    with pytest.raises(LimitError):
        curate(recipe(source, TAGGED, limits={"max_requests": 10}), tmp_path)
    (phase,) = in_shards(recipe(source, TAGGED), tmp_path)
    assert sum(end.asked for end in phase) == 14


KILLED = """
import os, signal
from tagevol_hf.engines import store
from tests.test_pipeline import recipe
from tagevol_hf.pipeline.shards import Shard, curate_shard
put_all, count = store.RequestStore.put_all, 0
def fatal(self, replies, engine):
    global count
    held = put_all(self, replies, engine)
    count += len(replies)
    if count >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return held
store.RequestStore.put_all = fatal
curate_shard(recipe({source!r}, [{{"open_tags": {{}}}}]), Shard(1, 2), {folder!r})
"""


def test_a_killed_shard_goes_on_and_what_it_had_can_be_merged(source, tmp_path):
    script = KILLED.format(source=str(source), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    said = []
    assert not merge_shards(tmp_path, said.append)
    assert "  1-of-2: 4 new replies (running)" in said
    assert said[-1].startswith("not run to their end: 1/2, 2/2;")
    (phase,) = in_shards(recipe(source, TAGGED), tmp_path)
    assert sum(end.asked for end in phase) == 20


@pytest.mark.parametrize("engine", ["builtin", "server"])
def test_two_processes_at_the_same_time_give_the_result_of_one(tmp_path, engine):
    source = write_seeds(tmp_path / "seeds.jsonl", seeds(60))
    with StandInServer(latency=0.005, answer=_answer) as server:
        given = recipe(source, engines={"default": server.spec if engine == "server" else "builtin"})
        file = tmp_path / "recipe.yaml"
        file.write_text(json.dumps({"name": "t", **given.plain()}))
        assert _phases(file, tmp_path / "run", tmp_path) == 4
        asked = len(server.bodies)
        done = tagevol("curate", file, "--out", tmp_path / "run", folder=tmp_path)
        assert "The engine was asked nothing" in done.stdout, done.stderr
        assert len(server.bodies) == asked == len({plain(body) for body in server.bodies})
        whole = curate(given, tmp_path / "whole")
        assert len(server.bodies) == 2 * asked
    from tagevol_hf.pipeline import load_run

    run = load_run(tmp_path / "run")
    assert results(run) == results(whole)
    sums = ("read", "added", "selected", "not_chosen", "rejected")
    assert [run.record["totals"][key] for key in sums] == [whole.record["totals"][key] for key in sums]
    assert run.record["totals"]["stored"] == whole.record["totals"]["asked"] + whole.record["totals"]["stored"]


def _answer(body):
    """As the built-in engine would."""
    from tagevol_hf.engines.base import Message, Request
    from tagevol_hf.engines.builtin import BuiltinEngine

    form = body.get("response_format")
    schema = form["json_schema"]["schema"] if form else None
    messages = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
    return next(iter(BuiltinEngine().stream([Request(messages, schema=schema)])))[1].text


def _phases(file, run, folder):
    """Phases of two processes each, until nothing is left; no message of a lock, no failure."""
    command = [sys.executable, "-c", "from tagevol_hf.cli import main; main()", "curate", str(file), "--out", str(run)]
    for phase in range(1, 9):
        jobs = [
            subprocess.Popen([*command, "--shard", f"{number}/2"], cwd=folder, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)})
            for number in (1, 2)
        ]  # fmt: skip
        for job in jobs:
            said, _ = job.communicate(timeout=240)
            assert job.returncode == 0, said
            assert "locked" not in said
        merged = tagevol("store", "merge", run, folder=folder)
        assert merged.returncode == 0, merged.stderr
        if "now: tagevol curate RECIPE" in merged.stdout:
            return phase
    raise AssertionError("it does not end")


def test_a_second_process_with_the_same_shard_is_refused_in_one_line(tmp_path):
    source = write_seeds(tmp_path / "seeds.jsonl", seeds(60))
    with StandInServer(latency=0.5) as server:
        given = recipe(source, TAGGED, engines={"default": f"{server.url}?concurrency=1#stand-in"})
        (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "t", **given.plain()}))
        command = ["curate", "recipe.yaml", "--out", "run", "--shard", "1/2"]
        first = subprocess.Popen(
            [sys.executable, "-c", "from tagevol_hf.cli import main; main()", *command],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(lambda: server.bodies)
            second = tagevol(*command, folder=tmp_path)
        finally:
            first.kill()
            first.wait(30)
    assert second.returncode == 2
    assert second.stderr.splitlines() == [
        "error: run/shards/1-of-2: another process is working on this run; wait for it or end it"
    ]
    wrong = tagevol("curate", "recipe.yaml", "--shard", "5/4", folder=tmp_path)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
