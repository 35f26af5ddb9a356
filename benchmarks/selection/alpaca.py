"""Measure TACOS without a model on a set of Alpaca's size: normalise, embed, cluster, select.

    python benchmarks/selection/alpaca.py

52,002 rows with stored tags and stored scores. The texts are Alpaca's and the tags real ones, drawn by their counts,
where both are at hand (TAGEVOL_TEST_DATA); else both are made from numbers. How many tags a row has is as TACOS reports
for Alpaca. The work runs in a process of its own with two threads, whose time and peak memory are taken, Python and
libraries included. Nothing is asked. Writes a JSON and a Markdown file into benchmarks/results; the exit status is 1
where a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from datasets import Dataset, Features, List, Value, load_from_disk  # noqa: E402 - the package comes onto the path first
from scenarios.plan import Outcome  # noqa: E402
from scenarios.report import as_text, machine, save  # noqa: E402

_ROWS, _CHOSEN, _CLUSTERS = 52_002, 1000, 50
_SECONDS, _GIB = 90.0, 3.0
_TAGS_A_ROW = {1: 1890, 2: 17443, 3: 26191, 4: 5348, 5: 933, 6: 141, 7: 32, 8: 22}  # rows of Alpaca, by TACOS' figure


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    if given.work is not None:
        sys.stdout.write(json.dumps(_work(given.work, given.assign)) + "\n")
        return 0
    where = machine()
    outcome = Outcome("")
    with tempfile.TemporaryDirectory(prefix="bench-alpaca-") as scratch:
        source = _prepare(Path(scratch) / "rows", given.rows)
        outcome.title = f"TACOS without a model: {given.rows} rows ({source}) -> {_CHOSEN}, {_CLUSTERS} clusters"
        for assign in ("paper", "release"):
            _measure(outcome, Path(scratch) / "rows", assign, given.rows)
    file = save(given.results, "selection-alpaca", where, outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _measure(outcome: Outcome, rows: Path, assign: str, count: int) -> None:
    command = [sys.executable, __file__, "--work", str(rows), "--assign", assign]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    environment = {**os.environ, **threads}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)  # noqa: S603 - ours
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    outcome.runs.append({"case": assign, **found})
    steps = {name: f"{seconds:.1f}" for name, seconds in found["seconds"].items()}
    total = sum(found["seconds"].values())
    outcome.table.append(
        {"assign": assign, **steps, "all": f"{total:.1f}", "peak MiB": f"{found['peak_mib']:.0f}",
         "labels": found["labels"], "chosen": found["chosen"]}
    )  # fmt: skip
    outcome.at_most(f"seconds, {assign}", total, _SECONDS)
    outcome.at_most(f"GiB, {assign}", found["peak_mib"] / 1024, _GIB)
    outcome.equal(f"rows chosen, {assign}", found["chosen"], min(count, _CHOSEN))
    outcome.equal(f"rows lost, {assign}", found["lost"], 0)


def _work(folder: Path, assign: str) -> dict[str, Any]:
    """The journey from stored tags to chosen rows; seconds of each step."""
    from tagevol_hf.rows import split_rejected
    from tagevol_hf.selection.choose import select
    from tagevol_hf.selection.cluster import add_clusters, fit_clusters
    from tagevol_hf.tags.embed import open_embedder
    from tagevol_hf.tags.normalize import Normalization, add_labels, fit_normalizer

    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - start
        return result

    rows = load_from_disk(str(folder))
    embedder = open_embedder("builtin")
    normalizer = timed("normalise", lambda: fit_normalizer(rows, Normalization(), embedder))
    labelled = timed("label", lambda: add_labels(rows, normalizer))
    clusters = timed("cluster", lambda: fit_clusters(labelled, k=_CLUSTERS, embedder=embedder))
    placed = timed("place", lambda: add_clusters(labelled, clusters, embedder, assign=assign))
    good, bad = timed("split", lambda: split_rejected(placed))
    chosen = timed("select", lambda: (found := select(good, n=_CHOSEN), found.apply(good))[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    names = len({label for labels in labelled["labels"] for label in labels})
    lost = len(rows) - len(good) - len(bad)
    return {"seconds": seconds, "peak_mib": peak, "labels": names, "chosen": len(chosen), "lost": lost + len(bad)}


def _prepare(folder: Path, count: int) -> str:
    """Save rows with tags and scores; says where they come from."""
    from tagevol_hf.rows import ROW_FEATURES

    data = Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data"))
    texts, tags = data / "alpaca52k" / "alpaca_data.json", data / "tags" / "tag_values.jsonl"
    real = texts.is_file() and tags.is_file()
    alpaca = json.loads(texts.read_text("utf-8")) if real else []
    items = [alpaca[number] if number < len(alpaca) else _made(number) for number in range(count)]
    columns: dict[str, Any] = {
        "id": [f"row/{number}" for number in range(count)],
        "instruction": [item["instruction"] for item in items],
        "input": [item["input"] for item in items],
        "response": [item["output"] for item in items],
        "history": [[] for _ in range(count)],
        "rejection": [None] * count,
        "open_tags": _tags(tags if real else None, count),
        "score": [Random(number).gauss(70, 12) for number in range(count)],
    }
    tag = {"tag": Value("string"), "explanation": Value("string")}
    features = Features({**ROW_FEATURES, "open_tags": List(tag), "score": Value("float64")})
    Dataset.from_dict(columns, features=features).save_to_disk(str(folder))
    return "Alpaca's texts, real tags drawn by count" if real else "texts and tags made from numbers"


def _made(number: int) -> dict[str, str]:
    return {"instruction": f"Say something about the number {number}.", "input": "", "output": "It is one. " * 20}


def _tags(file: Path | None, count: int) -> list[list[dict[str, str]]]:
    random = Random(5)
    if file is None:
        names, weights = [f"matter {number}" for number in range(12_000)], [1 / (n + 1) for n in range(12_000)]
    else:
        found = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        names, weights = [entry["tag"] for entry in found], [entry["count"] for entry in found]
    sizes = random.choices(list(_TAGS_A_ROW), list(_TAGS_A_ROW.values()), k=count)
    drawn = iter(random.choices(names, weights, k=sum(sizes)))
    return [[{"tag": next(drawn), "explanation": ""} for _ in range(size)] for size in sizes]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--assign", default="paper", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
