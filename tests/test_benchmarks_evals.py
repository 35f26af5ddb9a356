"""The benchmark of the graders saves what it found, and says what was not run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_without_the_data_nothing_is_claimed(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "evals" / "graders.py"), "--results", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TAGEVOL_TEST_DATA": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    saved = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert len(saved["table"]) == 6
    assert all(line["found"].startswith("not run: ") for line in saved["table"])
    assert saved["checks"] == []


@pytest.mark.slow
def test_recorded_results_hold(tmp_path):
    data = Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "gsm8k").is_dir():
        pytest.skip(f"needs {data} (TAGEVOL_TEST_DATA)")
    command = [sys.executable, str(ROOT / "benchmarks" / "evals" / "graders.py"), "--results", str(tmp_path)]
    done = subprocess.run(
        [*command, "--only", "gsm8k", "mt_bench"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    saved = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert all(check["held"] for check in saved["checks"])
    assert len(saved["table"]) == 3
