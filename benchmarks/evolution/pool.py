"""Measure the tag pool: building, saving, loading, and drawing candidates.

    python benchmarks/evolution/pool.py
    python benchmarks/evolution/pool.py --rounds 5

Tags are stored already, ten a row: neighbouring words of GSM8K's training questions where they are at hand
(TAGEVOL_TEST_DATA), else made from numbers. Nothing is asked. Writes a JSON and a Markdown file into
benchmarks/results; the exit status is 1 where a target was missed. Each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy
import pyarrow
from datasets import Dataset, Features, Value
from datasets import __version__ as datasets_version

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from scenarios.plan import Outcome  # noqa: E402 - the folder of the engine benchmarks comes onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

from tagevol_hf.evolve.tag_evol import draw_candidates  # noqa: E402
from tagevol_hf.rows import ROW_FEATURES  # noqa: E402
from tagevol_hf.tags.pool import TagPool  # noqa: E402
from tagevol_hf.tags.taggers import ASPECTS  # noqa: E402

_ROWS, _LARGE, _TAGS = 7_473, 52_000, 10
_BUDGETS, _CANDIDATES = (1, 3, 5), 21
_DRAWS = 100_000  # rows with candidates: seeds x budgets
_POOLS = (10_000, 75_000)
_BUILD_S, _DRAW_S, _POOL_MB = 5.0, 10.0, 64.0


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    where = machine()
    questions = _questions()
    source = "words of GSM8K's questions" if questions else "made from numbers"
    outcome = Outcome(f"tag pool: {_ROWS} and {_LARGE} rows of {_TAGS} tags ({source}), {_DRAWS} rows of candidates")
    with tempfile.TemporaryDirectory(prefix="bench-pool-") as scratch:
        _build(outcome, given.rounds, questions, Path(scratch) / "pool.json")
    for size in _POOLS:
        _draw(outcome, given.rounds, size)
    versions = {"datasets": datasets_version, "numpy": numpy.__version__, "pyarrow": pyarrow.__version__}
    outcome.runs.append({"case": "versions", "versions": versions})
    file = save(given.results, "evolution-pool", where, outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _build(outcome: Outcome, rounds: int, questions: list[str], file: Path) -> None:
    """Build, save and load the pools of both sizes; the order of the rows must not matter."""
    for rows in (_ROWS, _LARGE):
        tagged = _tagged(rows, questions if rows == _ROWS else [])
        build, pool = _timed(rounds, lambda tagged=tagged: TagPool.from_dataset(tagged, "seeds"))
        write, _ = _timed(rounds, lambda pool=pool: pool.save(file))
        read, again = _timed(rounds, lambda: TagPool.load(file))
        held = _megabytes(lambda: TagPool.load(file))
        case = f"build from {rows} rows"
        size = f"{file.stat().st_size / 1e6:.1f}"
        figures = {"tags": len(pool), "seconds": f"{build:.2f}", "save": f"{write:.2f}", "load": f"{read:.2f}"}
        outcome.table.append({"case": case, **figures, "file MB": size, "in memory MB": f"{held:.1f}"})
        outcome.runs.append({"case": case, "build_s": build, "save_s": write, "load_s": read, "memory_mb": held})
        if rows == _ROWS:
            outcome.at_most(f"seconds to build from {rows} rows", build, _BUILD_S)
            outcome.equal("loaded pool is the saved one", again == pool, True)
            saved = file.read_bytes()
            TagPool.from_dataset(tagged.shuffle(seed=7), "seeds").save(file)
            outcome.equal("shuffled rows give the same bytes", file.read_bytes() == saved, True)
        else:
            outcome.at_most(f"MB in memory from {rows} rows", held, _POOL_MB)


def _draw(outcome: Outcome, rounds: int, size: int) -> None:
    """Draw candidates from a pool of `size` tags: the whole fan, and the draws alone."""
    names = [_name(number) for number in range(size)]
    pool = TagPool({name: {"topic": 1} for name in names})
    seeds = _seeds(-(-_DRAWS // len(_BUDGETS)), names)
    fan, fanned = _timed(rounds, lambda: draw_candidates(seeds, pool, _BUDGETS, _CANDIDATES))
    own = [set(tags) for tags in seeds["tags"]]
    alone, _ = _timed(rounds, lambda: _drawn(pool, own, len(fanned)))
    case = f"draw for {len(fanned)} rows"
    blank = {"save": "", "load": "", "file MB": "", "in memory MB": ""}
    outcome.table.append({"case": case, "tags": size, "seconds": f"{fan:.2f}", **blank})
    outcome.table.append({"case": f"{case}, the draws alone", "tags": size, "seconds": f"{alone:.2f}", **blank})
    outcome.runs.append({"case": case, "tags": size, "fan_s": fan, "draws_s": alone})
    outcome.at_most(f"seconds for {len(fanned)} rows from {size} tags", fan, _DRAW_S)
    sound = sum(_is_sound(row) for row in fanned.select_columns(["candidates", "seed_tags"]))
    outcome.equal(f"rows with {_CANDIDATES} distinct foreign candidates of {size} tags", sound, len(fanned))


def _drawn(pool: TagPool, own: list[set[str]], rows: int) -> None:
    for number in range(rows):
        pool.draw(_CANDIDATES, own[number % len(own)], Random(number))


def _is_sound(row: dict[str, Any]) -> bool:
    candidates = set(row["candidates"])
    return len(row["candidates"]) == len(candidates) == _CANDIDATES and candidates.isdisjoint(row["seed_tags"])


def _tagged(rows: int, questions: list[str]) -> Dataset:
    """Rows with tags under two aspects."""
    lists = [_words(text) for text in questions] or list(_numbered(rows))
    half = _TAGS // 2
    aspects = [
        [{"aspect": "skill", "tags": tags[:half]}, {"aspect": "topic", "tags": tags[half:]}] for tags in lists[:rows]
    ]
    columns = {"id": [f"row/{number}" for number in range(len(aspects))], "aspects": aspects, "tags": lists[:rows]}
    return Dataset.from_dict(columns, features=Features({"id": Value("string"), **ASPECTS}))


def _seeds(rows: int, names: list[str]) -> Dataset:
    """Rows as `draw_candidates` wants them, with ten tags of the pool each."""
    random = Random(11)
    columns: dict[str, list[Any]] = {name: [""] * rows for name in ("input", "response")}
    columns["id"] = [f"row/{number}" for number in range(rows)]
    columns["instruction"] = ["How many apples are left in the basket? " * 6] * rows
    columns["history"] = [[] for _ in range(rows)]
    columns["rejection"] = [None] * rows
    columns["tags"] = [random.sample(names, _TAGS) for _ in range(rows)]
    return Dataset.from_dict(columns, features=Features({**ROW_FEATURES, "tags": ASPECTS["tags"]}))


def _numbered(rows: int) -> Iterator[list[str]]:
    """Tags by number; a few are frequent, most are rare, as with real taggers."""
    random = Random(7)
    for _ in range(rows):
        yield [_name(int(3 * rows * random.random() ** 2)) for _ in range(_TAGS)]


def _name(number: int) -> str:
    return f"knowledge of matter {number}"


def _words(question: str) -> list[str]:
    """Pairs of neighbouring words, ten of them spread over the question."""
    words = re.findall(r"[a-z]+", question.lower())
    pairs = [" ".join(pair) for pair in pairwise(words)]
    return pairs[:: max(1, len(pairs) // _TAGS)][:_TAGS] or ["short question"]


def _questions() -> list[str]:
    file = Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data")) / "gsm8k" / "train.jsonl"
    if not file.is_file():
        return []
    return [json.loads(line)["question"] for line in file.read_text("utf-8").splitlines()]


def _timed(rounds: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Median seconds, and the last result."""
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return median(seconds), result


def _megabytes(work: Callable[[], Any]) -> float:
    """MB of Python and NumPy memory that a result holds."""
    tracemalloc.start()
    result = work()
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    del result
    return held


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
