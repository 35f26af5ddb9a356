"""Measure how the stages without a model grow, with 10,000, 100,000 and 1,000,000 rows.

    python benchmarks/scale.py                          # a quarter of an hour
    python benchmarks/scale.py --rows 10000,100000      # a minute or two

Each size runs in a process of its own, twice: first the built-in engine answers and the store is filled, then ("again")
every reply comes from the store. Steps: open tags, normalisation, clusters, single scores, selection of 1,000. Peak
memory is that of the process with all its libraries and mapped files. The server of `engines/server.py` answers after
50 ms, 256 requests in flight. Rows are real ones with seeded changes where Alpaca is at hand (TAGEVOL_TEST_DATA), else
made from numbers. Writes a JSON and a Markdown file into benchmarks/results, and a picture with the extra `figures`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "engines")]

from contamination import changed, texts  # noqa: E402 - the folders of the benchmarks come onto the path first
from scenarios.plan import Outcome  # noqa: E402
from scenarios.processes import BenchServer  # noqa: E402
from scenarios.report import as_text, machine, save  # noqa: E402
from work import make  # noqa: E402

_SIZES, _SERVED = (10_000, 100_000, 1_000_000), 100_000
_GIB, _LINEAR = 4.0, 1.2  # at the largest size; seconds a row against a tenth of the rows
_OWN = {"embedder": "builtin"}
_TAGGING: list[dict[str, Any]] = [{"open_tags": {}}, {"normalize_tags": _OWN}]
_STEPS = [
    *_TAGGING,
    {"cluster": {"k": 50, **_OWN}},
    {"single_score": {}},
    {"select": {"n": 1000, "by": "single_score"}},
]


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    if given.work is not None:
        sys.stdout.write(json.dumps(_work(given.work)) + "\n")
        return 0
    where = machine()
    sizes = [int(size) for size in given.rows.split(",")]
    outcome = Outcome(f"scale: {', '.join(f'{size:,}' for size in sizes)} rows")
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        for size in sizes:
            _measure_size(outcome, size, Path(folder))
        if given.served:
            _measure_server(outcome, given.served, Path(folder))
    _check(outcome, sizes)
    file = save(given.results, "scale", where, outcome)
    with suppress(ImportError):
        _plot(outcome, file.with_suffix(".png"))
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _measure_size(outcome: Outcome, size: int, folder: Path) -> None:
    rows, words = texts(), [word for row in texts()[:3000] for word in row["instruction"].split()]
    source = folder / f"rows-{size}.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for number in range(size):
            share = 0.0 if number < len(rows) else 0.3
            row = {name: changed(text, share, Random(number), words) for name, text in rows[number % len(rows)].items()}
            file.write(json.dumps({"id": f"row {number}", **row}, ensure_ascii=False) + "\n")
    body = {"name": "scale", "engines": {"default": "builtin"}, "data": {"source": str(source)}, "steps": _STEPS}
    for case in ("first", "again"):
        _note(outcome, case, size, _run(folder, body, folder / f"run-{size}"))


def _measure_server(outcome: Outcome, size: int, folder: Path) -> None:
    make(folder / "marked", size)
    with BenchServer(latency=0.05, tags=3, characters=40) as server:
        engine = f"{server.url}#bench?concurrency=256"
        source = {"source": str(folder / "marked" / "rows")}
        body = {"name": "served", "engines": {"default": engine}, "data": source, "steps": _TAGGING}
        _note(outcome, "server", size, _run(folder, body, folder / "run-served"))


def _note(outcome: Outcome, case: str, size: int, found: Mapping[str, Any]) -> None:
    outcome.runs.append({"case": case, "rows": size, **found})
    seconds = {
        name: f"{found['steps'].get(name, 0.0):.1f}" for name in ("load", *(next(iter(step)) for step in _STEPS))
    }
    line = {"rows": f"{size:,}", "case": case, **seconds, "all": f"{found['seconds']:.1f}"}
    outcome.table.append({**line, "peak GiB": f"{found['peak_gib']:.2f}", "asked": f"{found['asked']:,}"})


def _run(folder: Path, body: Mapping[str, Any], run: Path) -> dict[str, Any]:
    (folder / "work.json").write_text(json.dumps({"recipe": body, "run": str(run)}))
    command = [sys.executable, __file__, "--work", str(folder / "work.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200)  # noqa: S603 - ours
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _work(file: Path) -> dict[str, Any]:
    """One run; gives seconds by step and the peak memory of this process."""
    from tagevol_hf.pipeline import curate
    from tagevol_hf.recipe import recipe_from

    given = json.loads(file.read_text())
    steps: dict[str, float] = {}
    start = time.perf_counter()
    run = curate(recipe_from(given["recipe"]), given["run"], tell=lambda step: steps.update({step.name: step.seconds}))
    return {
        "seconds": time.perf_counter() - start,
        "steps": steps,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "asked": run.record["asked"],
        "versions": run.record["versions"],
    }


def _check(outcome: Outcome, sizes: Sequence[int]) -> None:
    again = {run["rows"]: run for run in outcome.runs if run["case"] == "again"}
    largest = max(sizes)
    outcome.at_most(f"GiB, {largest:,} rows", again[largest]["peak_gib"], _GIB)
    outcome.equal(f"asked again, {largest:,} rows", again[largest]["asked"], 0)
    if largest // 10 in again:
        factor = again[largest]["seconds"] / again[largest // 10]["seconds"] / 10
        outcome.at_most(f"seconds a row, {largest:,} rows against {largest // 10:,}", factor, _LINEAR)


def _plot(outcome: Outcome, file: Path) -> None:
    """Seconds by step, and memory, against rows."""
    from matplotlib.figure import Figure

    runs = [run for run in outcome.runs if run["case"] == "again"]
    sizes = [run["rows"] for run in runs]
    picture = Figure(figsize=(9, 3.6), layout="constrained")
    time_axes, memory_axes = picture.subplots(1, 2)
    for name in runs[0]["steps"]:
        time_axes.plot(sizes, [run["steps"][name] for run in runs], marker="o", label=name)
    memory_axes.plot(sizes, [run["peak_gib"] for run in runs], marker="o", color="black")
    memory_axes.set(ylabel="peak memory, GiB", ylim=(0, None))
    time_axes.set(yscale="log", ylabel="seconds, all replies from the store")
    for axes in (time_axes, memory_axes):
        axes.set(xscale="log", xlabel="rows")
        axes.grid(alpha=0.3)
    time_axes.legend(fontsize=7)
    picture.savefig(file, dpi=120)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(map(str, _SIZES)))
    parser.add_argument("--served", type=int, default=_SERVED, help="rows through the server; 0 for none")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--scratch", type=Path, help="where rows and runs lie meanwhile (3 GB for a million rows)")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
