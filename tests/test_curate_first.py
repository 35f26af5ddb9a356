"""What `curated` names is made first, by one process, and the others wait for it on the file system."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from processes import wait_for, working_in
from run_folders import ROOT, load_script
from stand_in_server import StandInServer, error

from tagevol_hf import curate_first
from tagevol_hf.child import child_environment
from tagevol_hf.curate_first import curated_place
from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.training.curated import load_curated

PLACE = (
    "import sys; from tagevol_hf.curate_first import curated_place as place; print(place(sys.argv[1], 'auto', print))"
)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe whose data the built-in engine makes at once, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    return write_recipe(tmp_path, "builtin")


def write_recipe(folder, engine, rows=6):
    seeds = (ROOT / "recipes" / "quickstart" / "seeds.jsonl").read_text("utf-8").splitlines()[:rows]
    (folder / "seeds.jsonl").write_text("\n".join(seeds))
    (folder / "small.yaml").write_text(
        f"name: small\ndata: {{source: seeds.jsonl}}\nengines: {{default: '{engine}'}}\nsteps: [respond: {{}}]\n"
    )
    return "small.yaml"


def rank(number, recipe, folder, **environment):
    """One process of a training, up to where its data is there."""
    names = {"PYTHONPATH": str(ROOT), "RANK": str(number), "WORLD_SIZE": "2", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", PLACE, recipe],
        cwd=folder,
        env={**os.environ, **names},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ready_data_is_taken_as_it_is(tmp_path):
    for where in ("me/some-set", str(tmp_path), "runs/none"):
        assert curated_place(where, "auto", print) == where


@pytest.mark.slow
def test_a_recipe_is_run_once_and_then_its_folder_is_taken(recipe, capfd):
    said = []
    assert curated_place(recipe, "auto", said.append) == "runs/small"
    assert said == [
        "curated: there is no data in runs/small yet; it is made first: tagevol curate small.yaml",
        "  6 rows, at most 6 requests to builtin",
    ]
    assert "The engine was asked 6 times" in capfd.readouterr().err
    assert len(load_curated("runs/small")[0]) == 6
    assert not list(Path("runs").glob(".small.curating*.json"))
    assert curated_place(recipe, "never", said.append) == "runs/small"
    assert len(said) == 2


def test_never_gives_the_command(recipe):
    with pytest.raises(
        DataError, match=r"small\.yaml: there is no data in runs/small yet; make it with: tagevol curate sm"
    ):
        curated_place(recipe, "never", print)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_changed_recipe_and_an_unfinished_run_are_gone_on_with(recipe):
    curated_place(recipe, "auto", print)
    Path(recipe).write_text(Path(recipe).read_text().replace("respond: {}", "respond: {temperature: 0.5}"))
    with pytest.raises(DataError, match="runs/small was made by another version of this recipe; make it with"):
        curated_place(recipe, "never", print)
    Path("runs/small").rename("elsewhere")
    run = json.loads(Path("elsewhere/run.json").read_text())
    Path("elsewhere/run.json").write_text(json.dumps(run | {"status": "stopped"}))
    with pytest.raises(DataError, match=r"the run in elsewhere is not finished; go on with: .* --out elsewhere"):
        curated_place("elsewhere", "never", print)
    assert curated_place("elsewhere", "auto", print) == "elsewhere"
    assert json.loads(Path("elsewhere/run.json").read_text())["totals"]["asked"] == 0, "the store answers all"


def test_what_is_wrong_with_a_recipe_is_said_before_anything_is_made(recipe):
    with pytest.raises(RecipeError, match=r"other\.yaml: no such recipe"):
        curated_place("other.yaml", "auto", print)
    Path(recipe).write_text(Path(recipe).read_text().replace("respond", "respnd"))
    with pytest.raises(RecipeError, match="respond"):
        curated_place(recipe, "auto", print)
    assert not Path("runs").exists()


def test_a_misspelt_engine_is_said_before_anything_is_made(recipe):
    Path(recipe).write_text(Path(recipe).read_text().replace("builtin", "buitin"))
    with pytest.raises(RecipeError, match=r"small\.yaml: engines\.default: .*did you mean \"builtin\""):
        curated_place(recipe, "auto", print)
    assert not Path("runs").exists()


def test_the_place_is_known_before_the_data_is_made(recipe, tmp_path):
    assert curate_first.place_to_be(recipe) == ("runs/small", True)
    assert curate_first.place_to_be("me/some-set") == ("me/some-set", False)
    Path("runs/small").mkdir(parents=True)
    made = {"status": "complete", "digest": curate_first.load_recipe(recipe).digest}
    Path("runs/small/run.json").write_text(json.dumps(made))
    assert curate_first.place_to_be(recipe) == ("runs/small", False)


def test_a_child_that_was_stopped_before_it_could_say_so_is_spoken_for(tmp_path):
    silent, told = ([sys.executable, "-c", f"print(1); print({status})"] for status in (-15, 130))
    for command, words in (
        (silent, "stopped while the data was made; the same command goes on from there"),
        (told, ""),
    ):
        guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert curate_first._stopped(guard) == words


def test_a_misspelt_name_gets_the_nearest(recipe):
    for where, near in (
        ("smal.yaml", "small.yaml"),
        ("recipes/tacso/alpaca-52", "recipes/tacos/alpaca-52k"),
        ("recipes/tacos/alpaca-52k/curat.yaml", "recipes/tacos/alpaca-52k/curate.yaml"),
        (str(Path("smal.yaml").absolute()), str(Path("small.yaml").absolute())),
    ):
        with pytest.raises(RecipeError) as caught:
            curated_place(where, "auto", print)
        assert str(caught.value) == f"{where}: not found; did you mean {near}?"


def test_the_mark_of_an_earlier_attempt_fools_nobody(recipe, monkeypatch):
    folder = curate_first.run_folder_of(curate_first.load_recipe(recipe))
    folder.mkdir(parents=True)
    curate_first._mark(folder).write_text(json.dumps({"attempt": "old", "beat": 7, "error": "no engine"}))
    monkeypatch.setenv("RANK", "1")
    found = []
    waiting = Thread(target=lambda: found.append(curated_place(recipe, "auto", print)))
    waiting.start()
    time.sleep(0.1)
    assert waiting.is_alive()
    made = {"status": "complete", "digest": curate_first.load_recipe(recipe).digest}
    (folder / "run.json").write_text(json.dumps(made))
    waiting.join(timeout=10)
    assert found == [str(folder)]


@pytest.mark.slow
def test_a_failed_curation_ends_all_with_the_reason(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path, "http://127.0.0.1:9/v1?retries=1&backoff=0.05#stand-in")
    waiting = rank(1, recipe, tmp_path)
    with pytest.raises(DataError, match="curating ended with status 2; its message is above"):
        curated_place(recipe, "auto", print)
    assert "error: http://127.0.0.1:9" in capfd.readouterr().err
    assert "rank 0 could not make the data: curating ended with status 2" in waiting.communicate(timeout=120)[1]
    assert waiting.returncode == 1
    Path(recipe).write_text(Path(recipe).read_text().replace("name: small", "name: small\nlimits: {max_requests: 1}"))
    with StandInServer() as server:
        Path(recipe).write_text(Path(recipe).read_text().replace("127.0.0.1:9/v1", f"{server.url.partition('//')[2]}"))
        with pytest.raises(DataError, match="curating stopped at a limit of the recipe"):
            curated_place(recipe, "auto", print)


@pytest.mark.slow
def test_one_rank_makes_the_data_and_the_other_waits(tmp_path):
    with StandInServer(latency=0.5) as server:
        recipe = write_recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=8)
        other, first = rank(1, recipe, tmp_path), rank(0, recipe, tmp_path, TORCHELASTIC_RUN_ID="x", MASTER_PORT="1")
        wait_for(lambda: server.bodies or first.poll() is not None)
        assert other.poll() is None
        third = rank(0, recipe, tmp_path)  # of another training, on the same data
        said = [process.communicate(timeout=60)[0].split()[-1] for process in (first, other, third)]
        assert said == ["runs/small"] * 3
        assert len(server.bodies) == 8


@pytest.mark.slow
def test_when_rank_0_is_killed_its_child_ends_and_the_other_says_so(tmp_path):
    with StandInServer(latency=2.0) as server:
        recipe = write_recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=30)
        first, other = rank(0, recipe, tmp_path), rank(1, recipe, tmp_path, TAGEVOL_SILENT_SECONDS="4")
        wait_for(lambda: len(server.bodies) > 1)
        first.send_signal(signal.SIGKILL)
        first.wait()
        started = time.monotonic()
        assert "rank 0 gave no sign for 4 s" in other.communicate(timeout=60)[1]
        assert time.monotonic() - started < 20
        asked = len(server.bodies)
        time.sleep(2.5)
        assert len(server.bodies) <= asked + 1, "the child has ended, too"
    first.stdout.close(), first.stderr.close()


@pytest.mark.slow
def test_the_failure_of_another_training_is_not_ours(tmp_path):
    """Two trainings want the same data; the first fails to make it, the second makes it next."""

    def refused_once(number, body):
        if number > 0:
            return None
        wait_for(lambda: len(list(tmp_path.glob("runs/.small.curating.*.json"))) == 2)  # the second training is there
        time.sleep(3)  # for the ranks 1, which began with it
        return error(401, "no such key")

    with StandInServer(refused_once) as server:
        recipe = write_recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=3)
        processes = [rank(0, recipe, tmp_path, MASTER_PORT="1")]
        wait_for(lambda: list(tmp_path.glob("runs/.small.curating.*.json")))
        processes += [rank(n, recipe, tmp_path, MASTER_PORT=port) for n, port in ((1, "1"), (0, "2"), (1, "2"))]
        said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [1, 1, 0, 0], said
    assert "rank 0 could not make the data: curating ended with status 2" in said[1][1]
    assert said[3][0].split()[-1] == "runs/small"
    assert not list(tmp_path.glob("runs/.small.curating*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_rank_0_ends_the_curation_too(tmp_path, number):
    with StandInServer(latency=1.0) as server:
        recipe = write_recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=30)
        first = rank(0, recipe, tmp_path)
        wait_for(lambda: server.bodies)
        assert len(working_in(tmp_path)) == 3, "rank 0, the guard and the curation"
        first.send_signal(number)
        first.communicate(timeout=120)
        wait_for(lambda: not working_in(tmp_path), seconds=20)


@pytest.mark.parametrize("launcher", [{"TORCHELASTIC_RUN_ID": "x"}, {"ACCELERATE_MIXED_PRECISION": "no"}])
def test_the_child_knows_nothing_of_the_launcher(monkeypatch, launcher):
    given = {
        "RANK": "3",
        "MASTER_PORT": "5",
        "ACCELERATE_USE_FSDP": "1",
        "FSDP_VERSION": "2",
        "KMP_BLOCKTIME": "1",
        "OMP_NUM_THREADS": "1",
        **launcher,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    left = child_environment()
    assert not given.keys() & left.keys()
    assert left["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.slow
def test_ctrl_c_while_it_curates_is_one_line(tmp_path):
    with StandInServer(latency=1.0) as server:
        recipe = write_recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=30)
        script = [
            sys.executable,
            str(ROOT / "scripts/sft.py"),
            "--config",
            str(ROOT / "recipes/quickstart/sft-tiny.yaml"),
        ]
        training = subprocess.Popen(
            [*script, "--curated", recipe],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        wait_for(lambda: server.bodies or training.poll() is not None)
        os.killpg(training.pid, signal.SIGINT)
        said = training.communicate(timeout=120)[0]
        wait_for(lambda: not working_in(tmp_path), seconds=20)
    assert training.returncode == 130
    assert said.splitlines()[-1] == "stopped; the same command goes on from here"
    assert said.count("stopped") == 1, "by the curation itself, and it goes on"
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (["--learning_rat", "1"], 'learning_rat is not a training argument; did you mean "learning_rate"?'),
        (["--model_name_or_path", "./no-model"], "model_name_or_path: no tokenizer can be loaded from './no-model'"),
        (["--eval_tasks", "gsm8"], 'eval_tasks: gsm8 is not a task; did you mean "gsm8k"?'),
        (["--output_dir", "seeds.jsonl/model"], "seeds.jsonl: it is a file); give another --output_dir"),
        (["--output_dir", "/proc/model"], "output_dir: nothing can be written to /proc/model (/proc: "),
        (["--model_name_or_path", ".", "--output_dir", "."], "output_dir: . holds model_name_or_path, ., which would"),
    ],
)
def test_what_is_wrong_with_the_training_is_said_before_the_data_is_made(recipe, capsys, argument, message):
    config = ["--config", str(ROOT / "recipes/quickstart/sft-tiny.yaml"), "--curated", recipe]
    assert load_script("sft").main([*config, *argument]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists()
