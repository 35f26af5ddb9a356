"""The benchmarks of selection: a small run of each holds its targets and saves what it found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments", "cases"),
    [("normalizer.py", ["--tags", "600"], 5), ("alpaca.py", ["--rows", "400"], 2)],
)
def test_a_small_run_holds_its_targets(tmp_path, script, arguments, cases):
    command = [sys.executable, str(ROOT / "benchmarks" / "selection" / script), *arguments, "--results", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    saved = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert len(saved["table"]) == cases
    assert all(check["held"] for check in saved["checks"])
    assert saved["machine"]["date"]
