"""The benchmark of contamination: a small run holds its targets and saves what it found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_small_run_holds_its_targets(tmp_path):
    pytest.importorskip("rensa", reason="rensa is not installed")
    command = [sys.executable, str(ROOT / "benchmarks" / "contamination.py"), "--rows", "3000", "--questions", "200"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TAGEVOL_TEST_DATA": str(tmp_path)}
    command += ["--results", str(tmp_path / "results")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    saved = json.loads(next((tmp_path / "results").glob("*.json")).read_text())
    assert [line["case"] for line in saved["table"]] == [
        "instructions", "instructions and responses", "near duplicates",
    ]  # fmt: skip
    assert all(check["held"] for check in saved["checks"])
    assert saved["machine"]["date"]
