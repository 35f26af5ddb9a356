"""The one command: two processes by torchrun, whose data is made first; and the accelerate line as users type it.

accelerate starts one process on a CPU whatever it is asked for, so two are started by torchrun here.
"""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from processes import kill, rank_of, wait_for, working_in
from run_folders import RECIPE, ROOT
from stand_in_server import StandInServer, error

pytestmark = pytest.mark.slow

TIME_OUT = 5  # seconds of the collectives
SHORT = ["--max_steps", "12", "--logging_steps", "4", "--save_strategy", "no"]


def begin(launcher, arguments, folder):
    command = [sys.executable, "-m", *launcher, str(ROOT / "scripts" / "sft.py"), "--config", str(RECIPE), *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start(launcher, arguments, folder):
    process = begin(launcher, arguments, folder)
    said = process.communicate(timeout=240)[0]
    return subprocess.CompletedProcess(process.args, process.returncode, said)


def two_ranks():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return ["torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1", "--master_port", port]


def recipe(folder, engine, rows):
    seeds = (ROOT / "recipes" / "quickstart" / "seeds.jsonl").read_text("utf-8").splitlines()[:rows]
    (folder / "seeds.jsonl").write_text("\n".join(seeds))
    (folder / "curate.yaml").write_text(
        f"name: slow\ndata: {{source: seeds.jsonl}}\nengines: {{default: '{engine}'}}\nsteps: [respond: {{}}]\n"
    )


def test_a_curation_longer_than_the_time_out_of_the_collectives(tmp_path):
    with StandInServer(latency=1.0, answer=lambda body: "A short answer.") as server:
        recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=9)
        began = time.monotonic()
        done = start(two_ranks(), ["--curated", "curate.yaml", "--ddp_timeout", str(TIME_OUT), *SHORT], tmp_path)
        assert done.returncode == 0, done.stdout
        assert len(server.bodies) == 9, "one process curates"
    assert time.monotonic() - began > 9 > TIME_OUT
    assert "it is made first: tagevol curate curate.yaml" in done.stdout
    result = json.loads((tmp_path / "runs" / "slow" / "sft-tiny" / "train.json").read_text())
    assert result["processes"] == 2
    assert len(result["encoded_digests"]) == 2
    assert len(set(result["encoded_digests"])) == 1, "both read the same rows"
    assert (result["rows"], result["steps"]) == (9, 12)
    assert result["last_loss"] < result["first_loss"] - 0.5


def test_a_curation_that_fails_in_the_middle_ends_both(tmp_path):
    with StandInServer(lambda number, body: error(401, "no such key") if number > 2 else None) as server:
        recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=8)
        done = start(two_ranks(), ["--curated", "curate.yaml", *SHORT], tmp_path)
    assert done.returncode != 0
    assert (
        "error: curating ended with status 2; its message is above; with that mended the same command goes on"
        in done.stdout
    )
    assert "no such key" in done.stdout
    wait_for(lambda: not working_in(tmp_path), seconds=10)


def test_when_rank_0_is_killed_while_it_curates_nothing_is_left(tmp_path):
    with StandInServer(latency=1.0) as server:
        recipe(tmp_path, f"{server.url}?concurrency=1#stand-in", rows=60)
        launched = begin(two_ranks(), ["--curated", "curate.yaml", *SHORT], tmp_path)
        wait_for(lambda: server.bodies or launched.poll() is not None)
        kill([process for process in working_in(tmp_path) if rank_of(process) == "0"])
        assert launched.communicate(timeout=60)[0]
        assert launched.returncode != 0
        wait_for(lambda: not working_in(tmp_path), seconds=20)


def test_the_accelerate_line_makes_the_data_and_trains_once(tmp_path):
    recipe(tmp_path, "builtin", rows=8)
    accelerate = ["accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")]
    arguments = ["--curated", str(tmp_path), *SHORT]
    first = start(accelerate, arguments, tmp_path)
    assert first.returncode == 0, first.stdout
    assert "8 rows, at most 8 requests to builtin" in first.stdout
    assert "model, card and train.json are in runs/slow/sft-tiny" in first.stdout
    again = start(accelerate, arguments, tmp_path)
    assert "runs/slow/sft-tiny: already trained: nothing to do" in again.stdout, again.stdout


def test_benchmarks_in_a_training_are_shared_out_among_the_ranks(run_folder, tmp_path):
    sums = [{"question": f"What is {n} + {n}?", "answer": f"#### {2 * n}"} for n in range(5)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums))
    hook = [
        "--eval_tasks",
        "gsm8k",
        "--eval_task_data",
        "gsm8k=sums.jsonl",
        "--eval_task_limit",
        "3",
        "--eval_task_max_new_tokens",
        "8",
    ]
    steps = ["--eval_strategy", "steps", "--eval_steps", "2", "--max_steps", "4", "--save_strategy", "no"]
    places = ["--curated", str(run_folder), "--output_dir", str(tmp_path / "out"), "--max_length", "256"]
    done = start(two_ranks(), [*places, *hook, *steps, "--eval_rows", "4"], tmp_path)
    assert done.returncode == 0, done.stdout
    result = json.loads((tmp_path / "out" / "train.json").read_text())
    assert result["processes"] == 2
    assert [(entry["step"], entry["gsm8k_n"]) for entry in result["task_history"]] == [(2, 3), (4, 3)]
    assert done.stdout.count("step 2, gsm8k: accuracy 0.000, n = 3") == 1
