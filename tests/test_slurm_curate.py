"""The scripts for Slurm, executed: a stand-in for sbatch runs each job at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_pipeline import recipe, seeds, write_seeds

from tagevol_hf.pipeline import curate, load_run

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts" / "slurm"

# Runs the tasks of an array one after the other; the number of a failed job is not a job to wait for.
SBATCH = r"""#!/usr/bin/env bash
set -uo pipefail
tasks="" after=""
while [[ $1 == --* ]]; do
  case $1 in
    --parsable) shift ;;
    --array) tasks=$2; shift 2 ;;
    --dependency) after=${2#afterok:}; shift 2 ;;
    --kill-on-invalid-dep) shift 2 ;;
    *) echo "sbatch: unknown option $1" >&2; exit 1 ;;
  esac
done
number=$(($(wc -l < jobs.txt) + 1))
echo "$*" >> jobs.txt
echo "$number;cluster"
if [[ -n $after && ! -e ok.$after ]]; then exit 0; fi
good=1
if [[ -n $tasks ]]; then
  for task in $(seq "${tasks%-*}" "${tasks#*-}"); do
    SLURM_ARRAY_TASK_ID=$task bash "$@" >> output.txt 2>&1 || good=0
  done
else
  bash "$@" >> output.txt 2>&1 || good=0
fi
((good)) && : > "ok.$number"
exit 0
"""


@pytest.fixture
def place(tmp_path):
    """A folder with the scripts, and sbatch and tagevol on the path."""
    programs = {
        "sbatch": SBATCH,
        "tagevol": f'#!/usr/bin/env bash\nexec {sys.executable} -c "from tagevol_hf.cli import main; main()" "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "jobs.txt").touch()
    given = recipe(write_seeds(tmp_path / "seeds.jsonl", seeds()))
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "t", **given.plain()}))
    return tmp_path


def submit(place, *arguments):
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "scripts/slurm/curate.sh", "2", "recipe.yaml", "run", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160"},
    )


@pytest.mark.parametrize("name", ["curate.sh", "curate.sbatch", "merge.sbatch", "sft.sbatch"])
def test_the_scripts_are_bash(name):
    done = subprocess.run(["bash", "-n", SCRIPTS / name], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_one_command_takes_all_phases_and_leaves_the_result_of_one_process(place):
    done = submit(place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "phase 1: 2 shards in job 1, their merge in job 2\n"
    jobs = (place / "jobs.txt").read_text().splitlines()
    assert [job.split()[0].rpartition("/")[2] for job in jobs] == ["curate.sbatch", "merge.sbatch"] * 4
    assert "The engine was asked nothing" in (place / "output.txt").read_text()
    run = load_run(place / "run")
    assert run.record["status"] == "complete"
    assert run.selected.to_list() == curate(recipe(place / "seeds.jsonl"), place / "whole").selected.to_list()


@pytest.mark.slow
def test_a_phase_with_a_failed_shard_is_not_merged_and_the_same_command_goes_on(place):
    body = json.loads((place / "recipe.yaml").read_text())
    (place / "recipe.yaml").write_text(json.dumps({**body, "steps": [{"open_tags": {}}]}))  # one phase is enough
    done = submit(place, "--max-requests", "5")
    assert done.returncode == 0, done.stderr
    assert len((place / "jobs.txt").read_text().splitlines()) == 2
    assert "stopped at the limit (max_requests is 5" in (place / "output.txt").read_text()
    assert not (place / "run" / "store.sqlite").exists()
    assert submit(place).returncode == 0
    assert load_run(place / "run").record["status"] == "complete"
