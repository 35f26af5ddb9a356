"""Measure the graders against what others recorded: official scores, leaderboards, reference solutions.

    python benchmarks/evals/graders.py

The recorded data are looked for where TAGEVOL_TEST_DATA points; a grader whose data are not there is "not run". Nothing
is asked of a model. Writes a JSON and a Markdown file into benchmarks/results; the exit status is 1 where a target was
missed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from scenarios.plan import Outcome  # noqa: E402 - the folder of the engine benchmarks comes onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

from tagevol_hf.evals import sandbox  # noqa: E402
from tagevol_hf.evals.alpaca_eval_recorded import recorded_results  # noqa: E402
from tagevol_hf.evals.mt_bench_recorded import recorded_result  # noqa: E402
from tagevol_hf.evals.records import read_objects  # noqa: E402
from tagevol_hf.evals.task import Means, Task  # noqa: E402
from tagevol_hf.evals.tasks import task_of  # noqa: E402

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data"))


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    outcome = Outcome(f"graders against recorded results and reference solutions; sandbox: {sandbox.isolation().mode}")
    for work in (math500, gsm8k, humaneval, mbpp, alpaca_eval, mt_bench):
        if work.__name__ in given.only:
            _run(outcome, work)
    file = save(given.results, "evals-graders", machine(), outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _run(outcome: Outcome, work: Callable[[Outcome], Iterator[dict[str, Any]]]) -> None:
    try:
        outcome.table.extend(work(outcome))
    except FileNotFoundError as fault:
        outcome.table.append(_line(work.__name__, f"not run: {fault.filename} is not there"))


def math500(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Four models' recorded outputs, and the scores that their authors report."""
    task, problems = _problems("math500", "math/math500_oai.jsonl")
    with gzip.open(_there("math/math500_outputs_4runs.jsonl.gz"), "rt", encoding="utf-8") as file:
        runs = [json.loads(line) for line in file]
    away = []
    for run in runs:
        start = time.perf_counter()
        grades = task.grade(problems, [(text,) for text in run["outputs"]], Means())
        found = 100 * sum(grade.score or 0 for grade in grades) / len(grades)
        algebra = 100 * sum(grade.parts["algebra"] for grade in grades) / len(grades)
        official = 100 * run["official_score"]
        away.append(abs(found - official))
        name = "/".join(run["run"].split("/")[:2])
        said = f"{found:.1f} % (official {official:.1f} %; by algebra {algebra:.1f} %)"
        yield _line(f"math500, {name}", said, len(grades), time.perf_counter() - start)
    outcome.at_most("math500: points away from the official score, the largest", max(away), 0.6)
    outcome.at_most("math500: points away, the mean", sum(away) / len(away), 0.4)


def gsm8k(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Reference answers of both splits."""
    for split in ("train", "test"):
        task, problems = _problems("gsm8k", f"gsm8k/{split}.jsonl")
        start = time.perf_counter()
        grades = task.grade(problems, [(problem.record["answer"],) for problem in problems], Means())
        right = sum(grade.score == 1 for grade in grades)
        outcome.equal(f"gsm8k {split}: reference answers that are right", right, len(problems))
        yield _line(f"gsm8k, {split}", f"{right} right", len(problems), time.perf_counter() - start)


def humaneval(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Reference solutions in the sandbox, and what a problem costs beside a bare interpreter."""
    task, problems = _problems("humaneval", "humaneval/HumanEval.jsonl.gz")
    outputs = [(problem.record["prompt"] + problem.record["canonical_solution"],) for problem in problems]
    start = time.perf_counter()
    grades = task.grade(problems, outputs, Means(run_code=True, workers=1))
    seconds = time.perf_counter() - start
    passed = sum(grade.score == 1 for grade in grades)
    outcome.equal("humaneval: reference solutions that pass", passed, 164)
    bare = _bare_interpreter()
    outcome.at_most("humaneval: a problem's time over a bare interpreter's", seconds / len(problems) / bare, 10)
    yield _line("humaneval", f"{passed} passed", len(problems), seconds)
    yield _line("a bare interpreter, started and ended", "", 1, bare)


def mbpp(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Reference solutions; two of the published ones fail their own tests."""
    task, problems = _problems("mbpp", "mbpp/mbpp.jsonl")
    start = time.perf_counter()
    outputs = [(problem.record["code"],) for problem in problems]
    grades = task.grade(problems, outputs, Means(run_code=True, workers=len(os.sched_getaffinity(0))))
    passed = sum(grade.score == 1 for grade in grades)
    outcome.equal("mbpp: reference solutions that pass", passed, 972)
    yield _line("mbpp", f"{passed} passed", len(problems), time.perf_counter() - start)


def alpaca_eval(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Recorded preferences of five models beside the leaderboard."""
    with _there("alpaca_eval/leaderboard_5models.csv").open(encoding="utf-8") as file:
        board = {row["model"]: row for row in csv.DictReader(file)}
    raw, controlled = [], []
    start = time.perf_counter()
    for result in recorded_results(_there("alpaca_eval/gpt4turbo_preferences_5models.csv"), incomplete="allow"):
        row = board[result.about["model"]]
        found = 100 * result.mean, 100 * result.summary["length_controlled_win_rate"]
        official = float(row["win_rate"]), float(row["length_controlled_winrate"])
        raw.append(abs(found[0] - official[0]))
        controlled.append(abs(found[1] - official[1]))
        said = f"{found[0]:.2f} % ({official[0]:.2f} %), length-controlled {found[1]:.2f} % ({official[1]:.2f} %)"
        yield _line(f"alpaca_eval, {result.about['model']}", said, result.n, time.perf_counter() - start)
        start = time.perf_counter()
    outcome.at_most("alpaca_eval: points away from the leaderboard", max(raw), 0.01)
    outcome.at_most("alpaca_eval, length-controlled: points away, the largest", max(controlled), 1.0)


def mt_bench(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Recorded judgments of one model."""
    path = _there("mt_bench/gpt4_single_judgments_llama2-13b.jsonl")
    start = time.perf_counter()
    result = recorded_result(path)
    outcome.equal("mt_bench: the mean", round(result.mean or 0, 3), 5.469)
    yield _line("mt_bench, LLaMA2-13B", f"{result.mean:.3f}", result.n, time.perf_counter() - start)


def _problems(name: str, file: str) -> tuple[Task, list[Any]]:
    task = task_of(name)
    return task, task.problems(read_objects(_there(file)))


def _there(file: str) -> Path:
    path = DATA / file
    if not path.exists():
        raise FileNotFoundError(2, "not there", file)
    return path


def _bare_interpreter() -> float:
    """Seconds of an interpreter that does nothing, the median of eleven."""
    times = []
    for _ in range(11):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-s", "-S", "-c", "pass"], check=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[5]


def _line(what: str, found: str, n: int = 0, seconds: float = 0.0) -> dict[str, Any]:
    each = f"{1000 * seconds / n:.1f}" if n else ""
    return {"what": what, "found": found, "n": n or "", "seconds": f"{seconds:.2f}" if n else "", "ms each": each}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    tasks = ["math500", "gsm8k", "humaneval", "mbpp", "alpaca_eval", "mt_bench"]
    parser.add_argument("--only", nargs="+", choices=tasks, default=tasks, help="a part of the graders")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where the files go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
