"""`kill -9` during a training, and the same command again: one process, and two."""

import json
import os
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version
from processes import called_with, kill, wait_for
from run_folders import RECIPE, ROOT

from tagevol_hf.training.checkpoints import last_checkpoint

pytestmark = pytest.mark.slow

STEPS = 30
# 40 rows in batches of 4, two to a step or two ranks: 5 steps an epoch, and checkpoints in the middle of one.
FULL = ["--gradient_accumulation_steps", "2", "--neftune_noise_alpha", "5"]
LORA = [
    "--use_peft",
    "--lora_r",
    "4",
    "--lora_dropout",
    "0.1",
    "--packing",
    "--max_length",
    "128",
    "--format",
    "llama2",
]


def one() -> list[str]:
    config = ["--config_file", "accelerate_configs/cpu.yaml"]
    return ["accelerate.commands.launch", "--quiet", "--num_cpu_threads_per_process", "1", *config]


def two() -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return ["torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1", "--master_port", port]


VARIANTS = {
    "full, NEFTune, accumulated, mid-epoch": (one, FULL),
    "two ranks, LoRA with dropout, packed": (two, [*LORA, "--ddp_find_unused_parameters", "false"]),
}


def launch(run_folder: Path, output: Path, launcher: list[str], options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *launcher, "scripts/sft.py", "--config", str(RECIPE)]
    places = ["--curated", str(run_folder), "--output_dir", str(output)]
    batches = ["--per_device_train_batch_size", "4", "--logging_steps", "1", "--save_total_limit", "3"]
    steps = ["--max_steps", str(STEPS), "--save_steps", "3"]
    return subprocess.Popen(
        [*command, *places, *batches, *steps, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    return text


def step_of(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])


def kill_after(process: subprocess.Popen[str], output: Path, step: int) -> None:
    """End it as a power cut would, when it has written a checkpoint behind a step."""
    end = time.monotonic() + 120
    while step_of(last_checkpoint(output)) <= step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.005)
    kill(called_with(output))  # torchrun's processes are in sessions of their own
    process.communicate()
    wait_for(lambda: not called_with(output), seconds=10)


def losses(output: Path) -> list[float]:
    history = json.loads((output / "train.json").read_text())["loss_history"]
    assert [entry["step"] for entry in history] == list(range(1, STEPS + 1))
    return [entry["loss"] for entry in history]


@pytest.mark.parametrize(("launcher", "options"), list(VARIANTS.values()), ids=list(VARIANTS))
def test_two_kills_and_the_same_command_end_like_an_undisturbed_training(run_folder, tmp_path, launcher, options):
    if launcher is two and Version(version("transformers")) < Version("5.18"):
        pytest.skip("transformers before 5.18 cannot read the optimizer of two processes on a CPU (device cpu:0)")
    from safetensors.torch import load_file

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = launch(run_folder, whole, launcher(), options)
    for behind in (0, 9):
        kill_after(launch(run_folder, killed, launcher(), options), killed, behind)
        assert not (killed / "train.json").exists()
    (killed / "checkpoint-999").mkdir()  # one that was being written when the machine went down
    torn = last_checkpoint(killed)
    weights = next(torn.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])

    text = finish(launch(run_folder, killed, launcher(), options))
    finish(undisturbed)
    resumed = json.loads((killed / "train.json").read_text())["resumed_from"]
    assert f"going on from {resumed}" in text
    assert 0 < step_of(Path(resumed)) < step_of(torn), "not from one that was cut off"
    aside = killed / "earlier-torn" / torn.name
    assert aside.is_dir()
    assert f"a checkpoint that is not whole was moved to {aside}" in text
    assert losses(killed) == pytest.approx(losses(whole), abs=1e-4)
    name = "adapter_model.safetensors" if "--use_peft" in options else "model.safetensors"
    ours, theirs = load_file(killed / name), load_file(whole / name)
    assert all((ours[part] - theirs[part]).abs().max() < 1e-4 for part in theirs)
