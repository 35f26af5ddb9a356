"""Change the code in small ways, one at a time, and see whether the tests notice.

    python benchmarks/mutation.py                       # all groups, half an hour
    python benchmarks/mutation.py --groups parsing      # one of them
    python benchmarks/mutation.py --groups parsing --show

mutmut does it, in a copy of the tree, with the fast tests of the module and of those that use it. A mutant that no test
notices is alive; the target is under 10 % in each group. `--show` prints those that live. Writes a JSON and a Markdown
file into benchmarks/results. Needs mutmut, which the tests do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from scenarios.plan import Check, Outcome  # noqa: E402 - the folders of the benchmarks come onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

_TAGS = ["tests/tags/test_normalize.py", "tests/tags/test_normalize_merge.py", "tests/tags/test_associate.py"]
# Group → its modules, and the tests that are about them.
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "parsing": (["parsing"], ["tests/test_parsing.py", "tests/tags/test_taggers.py"]),
    "normalisation": (
        ["tags/associate", "tags/merge", "tags/normalization", "tags/normalize", "tags/rule", "tags/steps"],
        _TAGS,
    ),
    "comparison": (
        [f"selection/{name}" for name in ("compare", "marks", "pairing", "plans", "rounds", "scores", "swiss")],
        [
            *(f"tests/selection/test_{name}.py" for name in ("compare", "pairing", "plans", "rounds", "scores")),
            "tests/selection/test_repeatable.py",
            "tests/selection/test_scores_free_text.py",
        ],
    ),
    "selection": (
        [f"selection/{name}" for name in ("choice", "choose", "quota")],
        [f"tests/selection/test_{name}.py" for name in ("choose", "quota")],
    ),
}
_COPIED = ("tagevol_hf", "tests", "recipes", "scripts", "accelerate_configs", "pyproject.toml", "README.md")
_MOST, _LIMIT = 0.10, 3000  # share alive; seconds of a group


def main() -> int:
    """Measure; 1 where too many are alive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--groups", default=",".join(GROUPS), help="which, separated by commas")
    parser.add_argument("--show", action="store_true", help="print the mutants that live")
    given = parser.parse_args()
    names = given.groups.split(",")
    if unknown := set(names) - set(GROUPS):
        parser.error(f"--groups: {sorted(unknown)[0]!r} is not one of {', '.join(GROUPS)}")
    where = machine()
    outcome = Outcome("mutation: does a test notice a changed line?")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            _measure(name, Path(folder), outcome, given.show)
    sys.stdout.write(as_text(outcome))
    sys.stdout.write(f"{save(ROOT / 'benchmarks' / 'results', 'mutation', where, outcome)}\n")
    return int(not all(check.held for check in outcome.checks))


def _measure(name: str, folder: Path, outcome: Outcome, show: bool) -> None:
    modules, tests = GROUPS[name]
    _copy(folder, modules, tests)
    _mutmut(folder, "run", "--max-children", "2")
    found = _results(folder)
    alive = {mutant: how for mutant, how in found.items() if how not in ("killed", "timeout")}
    share = len(alive) / max(1, len(found))
    for module in modules:
        dotted = f"tagevol_hf.{module.replace('/', '.')}."
        mine = [how for mutant, how in found.items() if mutant.startswith(dotted)]
        lives = sum(mutant.startswith(dotted) for mutant in alive)
        outcome.table.append(
            {"group": name, "module": module, "mutants": len(mine), "alive": lives, "share": _percent(lives, len(mine))}
        )
    outcome.checks.append(Check(f"{name}: under {_MOST:.0%} alive", f"{share:.1%} of {len(found)}", share < _MOST))
    outcome.runs.append({"group": name, "alive": alive})
    if show:
        for mutant in alive:
            sys.stdout.write(_mutmut(folder, "show", mutant))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _copy(folder: Path, modules: list[str], tests: list[str]) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    settings: dict[str, Any] = {
        "source_paths": ["tagevol_hf"],
        "only_mutate": [f"tagevol_hf/{module}.py" for module in modules],
        "also_copy": ["recipes", "scripts", "accelerate_configs", "README.md"],
        "pytest_add_cli_args": ["-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"],
        "pytest_add_cli_args_test_selection": tests,
    }
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.mutmut]\n" + "".join(f"{key} = {value!r}\n" for key, value in settings.items()))


def _mutmut(folder: Path, *arguments: str) -> str:
    given = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    given.setdefault("TAGEVOL_TEST_DATA", str(ROOT.parent / "shared" / "data"))
    done = subprocess.run(  # noqa: S603 - a list of our own making
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"mutmut {' '.join(arguments)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _results(folder: Path) -> dict[str, str]:
    """Mutant → what became of it."""
    lines = _mutmut(folder, "results", "--all", "true").splitlines()
    pairs = (line.strip().partition(": ") for line in lines if ": " in line)
    return {mutant: how for mutant, _, how in pairs}


if __name__ == "__main__":
    sys.exit(main())
