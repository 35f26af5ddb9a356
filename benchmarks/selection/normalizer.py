"""Measure the tag normaliser: seconds and peak memory for 50,000 raw tags.

    python benchmarks/selection/normalizer.py

The tags are real ones where they are at hand (TAGEVOL_TEST_DATA), each with seeded variations of its spelling and
words until there are enough; else they are made from numbers. Rows draw three tags by frequency; 200 frequent tags
always bring another one with them, for the association step. Each case runs in a process of its own with two threads,
whose time and peak memory are taken, Python and libraries included. Writes a JSON and a Markdown file into
benchmarks/results; the exit status is 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from scenarios.plan import Outcome  # noqa: E402 - the folder of the engine benchmarks comes onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

_TAGS, _ROWS, _A_ROW = 50_000, 100_000, 3
_BRINGING = 200  # tags that always bring another
_SECONDS, _GIB = 60.0, 2.0
_CASES: dict[str, dict[str, Any]] = {
    "no rule: all to the semantic step": {"preset": "default", "steps": ("semantic", "association"), "support": 40},
    "all four steps, no tag is rare": {"preset": "paper", "alpha": 1, "support": 40},
    "all four steps, alpha scaled": {"preset": "paper"},
    "default": {"preset": "default"},
    "release": {"preset": "release"},
}


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    if given.case is not None:
        sys.stdout.write(json.dumps(_work(given.case, given.tags)) + "\n")
        return 0
    where = machine()
    source = "real tags and variations of them" if _file().is_file() else "made from numbers"
    outcome = Outcome(f"tag normaliser: {given.tags} raw tags ({source}) in {_ROWS} rows, the built-in embedder")
    for case in _CASES:
        _measure(outcome, case, given.tags)
    file = save(given.results, "selection-normalizer", where, outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _measure(outcome: Outcome, case: str, tags: int) -> None:
    command = [sys.executable, __file__, "--case", case, "--tags", str(tags)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    environment = {**os.environ, **threads}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)  # noqa: S603 - ours
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    outcome.runs.append({"case": case, **found})
    merged = {name: found["summary"][f"merged_by_{name}"] for name in ("rule", "embedding", "association")}
    outcome.table.append(
        {"case": case, "seconds": f"{found['seconds']:.1f}", "apply": f"{found['apply_s']:.1f}",
         "peak MiB": f"{found['peak_mib']:.0f}", "raw": found["summary"]["raw_tags"],
         "too rare": found["summary"]["too_rare"], **merged, "names": found["summary"]["names"]}
    )  # fmt: skip
    outcome.at_most(f"seconds, {case}", found["seconds"], _SECONDS)
    outcome.at_most(f"GiB, {case}", found["peak_mib"] / 1024, _GIB)
    outcome.equal(f"rows whose labels change when they are normalised again, {case}", found["unstable"], 0)


def _work(case: str, count: int) -> dict[str, Any]:
    """Fit on the rows and apply to them."""
    import dataclasses

    from tagevol_hf.tags.embed import open_embedder
    from tagevol_hf.tags.normalize import PRESETS, TagNormalizer

    changes = dict(_CASES[case])
    settings = dataclasses.replace(PRESETS[str(changes.pop("preset"))], **changes)
    rows = _rows(_tags(count))
    start = time.perf_counter()
    fitted = TagNormalizer.fit(rows, settings, open_embedder("builtin"))
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    labels = [fitted.apply(row) for row in rows]
    apply_s = time.perf_counter() - start
    return {
        "seconds": seconds,
        "apply_s": apply_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "summary": fitted.summary(),
        "unstable": sum(fitted.apply(own) != own for own in labels),
    }


def _rows(tags: list[str]) -> list[list[str]]:
    """Every tag in some row, a few in many; some bring another with them wherever they are."""
    draw = Random(11)
    weights = [1 / (place + 5) for place in range(len(tags))]
    flat = tags + draw.choices(tags, weights, k=_ROWS * _A_ROW - len(tags))
    draw.shuffle(flat)
    frequent = tags[: 2 * _BRINGING]
    brought = dict(zip(frequent[_BRINGING:], frequent[:_BRINGING], strict=True))
    rows = [flat[start : start + _A_ROW] for start in range(0, len(flat), _A_ROW)]
    return [[*row, *(brought[tag] for tag in row if tag in brought)] for row in rows]


def _tags(count: int) -> list[str]:
    """So many different tags, the most frequent first."""
    file = _file()
    if not file.is_file():
        return [f"matter {number % 997} of kind {number}" for number in range(count)]
    found = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    real = list(dict.fromkeys(entry["tag"] for entry in sorted(found, key=lambda entry: -entry["count"])))
    draw, tags = Random(7), dict.fromkeys(real[:count])
    while len(tags) < count:
        first, second = draw.choice(real), draw.choice(real)
        tags[draw.choice((first.title(), f"{first}s", first.replace(" ", "-"), f"{first} {second.split()[-1]}"))] = None
    return list(tags)


def _file() -> Path:
    return Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data")) / "tags" / "tag_values.jsonl"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=int, default=_TAGS)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--case", choices=list(_CASES), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
