"""The Slurm example, with commands in place of Slurm's that say what they were called with."""

import os
import subprocess

import pytest
from run_folders import ROOT

SCRIPT = ROOT / "scripts" / "slurm" / "sft.sbatch"
STUBS = {
    "scontrol": "echo node-a; echo node-b",
    "srun": 'shift; for rank in 0 1; do SLURM_NODEID=$rank "$@"; done',
    "accelerate": 'printf "%s|" "$@"; echo',
}


@pytest.fixture
def cluster(tmp_path):
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_NODELIST": "node-[a-b]",
        "SLURM_JOB_ID": "61234",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }
    return {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_each_node_launches_the_same_command_with_its_own_rank(cluster):
    command = ["bash", str(SCRIPT), "zero3", "recipes/x/sft.yaml", "--run_name", "two words"]
    done = subprocess.run(command, cwd=ROOT, env=cluster, capture_output=True, text=True, check=True)
    launched = [line.rstrip("|").split("|") for line in done.stdout.splitlines()]
    assert len(launched) == 2
    for rank, words in enumerate(launched):
        assert words[:3] == ["launch", "--config_file", "accelerate_configs/zero3.yaml"]
        assert words[words.index("--machine_rank") + 1] == str(rank)
        values = [words[words.index(name) + 1] for name in ("--num_machines", "--num_processes", "--main_process_ip")]
        assert values == ["2", "8", "node-a"]
        assert words[words.index("--main_process_port") + 1] == "21234"
        assert words[-5:] == ["scripts/sft.py", "--config", "recipes/x/sft.yaml", "--run_name", "two words"]
    assert (ROOT / launched[0][2]).is_file()


@pytest.mark.parametrize("given", [[], ["zero3"]])
def test_what_is_missing_is_asked_for(cluster, given):
    done = subprocess.run(["bash", str(SCRIPT), *given], env=cluster, capture_output=True, text=True)
    assert done.returncode != 0
    assert "give a " in done.stderr
