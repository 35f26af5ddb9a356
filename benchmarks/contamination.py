"""Measure the search for benchmarks' questions and for near duplicates: seconds and peak memory for a million rows.

    python benchmarks/contamination.py

The rows are real ones where they are at hand (TAGEVOL_TEST_DATA: Alpaca), each with seeded changes of its words until
there are enough; else they are made from numbers. Likewise the 10,000 questions (GSM8K, MATH-500). About 3,000 rows are
questions: as they are, in capitals, and with a tenth of the words replaced; and 3,000 have a twin in other letters.
Each case runs in a process of its own, which times the search and the rejection together and takes the peak memory of
itself and its children, Python, libraries and the mapped file included. Writes a JSON and a Markdown file into
benchmarks/results; the exit status is 1 where a target was missed.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from scenarios.plan import Outcome  # noqa: E402 - the folder of the engine benchmarks comes onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

_ROWS, _QUESTIONS, _PLANTED = 1_000_000, 10_000, 3_000
_SECONDS, _GIB, _PROCESSES = 300.0, 4.0, 2
_CASES = ("instructions", "instructions and responses", "near duplicates")
_KINDS: tuple[Callable[[str, Random, Sequence[str]], str], ...] = (
    lambda text, draw, words: text,
    lambda text, draw, words: text.upper(),
    lambda text, draw, words: changed(text, 0.1, draw, words),
)


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    if given.case is not None:
        sys.stdout.write(json.dumps(_work(given.case, given.folder)) + "\n")
        return 0
    where = machine()
    source = "real texts and variations of them" if (_data() / "alpaca52k").is_dir() else "made from numbers"
    outcome = Outcome(f"contamination: {given.rows} rows, {given.questions} benchmark questions ({source})")
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder), given.rows, given.questions)
        for case in _CASES:
            _measure(outcome, case, Path(folder))
    file = save(given.results, "contamination", where, outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _measure(outcome: Outcome, case: str, folder: Path) -> None:
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), str(_PROCESSES))
    environment = {**os.environ, **threads, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)  # noqa: S603 - ours
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    outcome.runs.append({"case": case, **found})
    shown = {name: found[name] for name in ("rejected", "planted", "planted found")}
    outcome.table.append(
        {"case": case, "seconds": f"{found['seconds']:.1f}", "peak MiB": f"{found['peak_mib']:.0f}", **shown}
    )
    outcome.at_most(f"seconds, {case}", found["seconds"], _SECONDS)
    outcome.at_most(f"GiB, {case}", found["peak_mib"] / 1024, _GIB)
    outcome.at_least(
        f"share of the planted rows that are found, {case}", found["planted found"] / found["planted"], 0.999
    )


def _work(case: str, folder: Path) -> dict[str, Any]:
    """Search, reject and part the rows; count what was planted."""
    from datasets import load_from_disk

    from tagevol_hf.rows import split_rejected

    dataset = load_from_disk(str(folder / "rows"))
    start = time.perf_counter()
    marked, children = _cleaned(case, dataset, folder)
    _, lost = split_rejected(marked)
    seconds = time.perf_counter() - start
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    kind = "twin" if case == "near duplicates" else "leak"
    planted = sum(name.startswith(kind) for name in dataset["id"])
    return {
        "seconds": seconds,
        "peak_mib": (usage[0] + children * usage[1]) / 1024,
        "rejected": len(lost),
        "planted": planted,
        "planted found": sum(name.startswith(kind) for name in lost["id"]),
    }


def _cleaned(case: str, dataset: Any, folder: Path) -> tuple[Any, int]:
    """The marked rows, and how many processes worked at a time beside this one."""
    from tagevol_hf.measure import find_leaks, find_near_duplicates, reject_leaks, reject_near_duplicates

    if case == "near duplicates":
        return reject_near_duplicates(dataset, find_near_duplicates(dataset)), 0
    questions = json.loads((folder / "questions.json").read_text("utf-8"))
    columns = ("instruction", "response") if case.endswith("responses") else ("instruction",)
    leaks = find_leaks(dataset, {"benchmark": questions}, columns=columns, num_proc=_PROCESSES)
    return reject_leaks(dataset, leaks), _PROCESSES


def _make(folder: Path, count: int, many: int) -> None:
    """Write the rows, with those that are planted among them, and the questions."""
    from datasets import Dataset

    questions, rows = _questions(many), texts()
    words = sorted({word for row in rows[:3000] for word in row["instruction"].split()})
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    every = max(10, count // _PLANTED)

    def made() -> Iterator[dict[str, str]]:
        for number in range(count):
            draw = Random(number)
            base = rows[number % len(rows)]
            changes = 0.0 if number < len(rows) else 0.5
            row = {name: changed(text, changes, draw, words) for name, text in base.items()}
            if number % every == 0:
                text = questions[draw.randrange(many)]
                yield {"id": f"leak {number}", **row, "instruction": _KINDS[number // every % 3](text, draw, words)}
            elif number % every == 1:  # of equals the first id stays
                yield {"id": f"original {number}", **row}
                yield {"id": f"twin {number}", **row, "instruction": row["instruction"].title()}
            else:
                yield {"id": f"row {number}", **row}

    Dataset.from_generator(made, cache_dir=str(folder / "cache")).save_to_disk(str(folder / "rows"))


def changed(text: str, share: float, draw: Random, words: Sequence[str]) -> str:
    """A text with that share of its words replaced."""
    own = text.split(" ")
    for place in draw.sample(range(len(own)), int(len(own) * share)):
        own[place] = draw.choice(words)
    return " ".join(own)


def _questions(many: int) -> list[str]:
    folder = _data()
    if not (folder / "gsm8k").is_dir():
        return [_sentence(Random(-number - 1), 30 + number % 40) for number in range(many)]
    files = {"gsm8k/test.jsonl": "question", "math/math500_oai.jsonl": "problem", "gsm8k/train.jsonl": "question"}
    real = [json.loads(line)[name] for file, name in files.items() for line in (folder / file).open(encoding="utf-8")]
    words = sorted({word for text in real for word in text.split()})
    more = (changed(real[number % len(real)], 0.5, Random(number), words) for number in range(many))
    return [*real, *more][:many]


def texts() -> list[dict[str, str]]:
    """Real rows where they are at hand, else some made from numbers."""
    file = _data() / "alpaca52k" / "alpaca_data.json"
    if file.is_file():
        rows = json.loads(file.read_text("utf-8"))
        return [{"instruction": row["instruction"], "input": row["input"], "response": row["output"]} for row in rows]
    return [
        {"instruction": _sentence(Random(number), 15), "input": "", "response": _sentence(Random(f"{number}"), 60)}
        for number in range(50_000)
    ]


def _sentence(draw: Random, length: int) -> str:
    syllables = ("ka", "lo", "mi", "ter", "van", "so", "ru", "pel", "di", "on")
    return " ".join("".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(length))


def _data() -> Path:
    return Path(os.environ.get("TAGEVOL_TEST_DATA", ROOT.parent / "shared" / "data"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--questions", type=int, default=_QUESTIONS)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--case", choices=_CASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
