"""Run the engine benchmarks: this project and its peers against a local server, on the same work, in one run.

    python benchmarks/engines/run.py throughput --only ours,bare
    python benchmarks/engines/run.py all --python distilabel=/envs/distilabel/bin/python
    python benchmarks/engines/run.py memory --rows 1000000

Writes a JSON and a Markdown file for each scenario. The exit status is 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scenarios import faults, hang, kill, memory, pool, store, throughput
from scenarios.plan import Plan
from scenarios.processes import SCRIPTS
from scenarios.report import as_text, machine, save

SCENARIOS = {
    "throughput": throughput.measure,
    "faults": faults.measure,
    "hang": hang.measure,
    "kill": kill.measure,
    "store": store.measure,
    "pool": pool.measure,
    "memory": memory.measure,
}
_ALL = [name for name in SCENARIOS if name != "memory"]  # which takes many minutes
_RESULTS = Path(__file__).resolve().parent.parent / "results"


def main() -> int:
    """Run the scenarios that were asked for; 1 where a target was missed."""
    given = _arguments()
    missed = 0
    where = machine()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        plan = _plan(given, Path(scratch))
        for name in _ALL if given.scenario == "all" else [given.scenario]:
            outcome = SCENARIOS[name](plan)
            file = save(given.results, f"engines-{name}", where, outcome)
            sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n\n")
            sys.stdout.flush()
            missed += sum(not check.held for check in outcome.checks)
    return int(missed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=[*SCENARIOS, "all"])
    parser.add_argument("--rows", type=int, help="by default what the scenario's targets are for")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=_names, default=(), help=f"clients, of {','.join(SCRIPTS)}")
    parser.add_argument("--concurrency", type=_numbers, default=(), help="requests in flight, such as 256,1024")
    parser.add_argument("--latency", type=float, help="seconds of each answer")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--python", action="append", default=[], metavar="CLIENT=PATH", help="a client's interpreter")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a client's run may take")
    parser.add_argument("--results", type=Path, default=_RESULTS)
    return parser.parse_args()


def _plan(given: argparse.Namespace, scratch: Path) -> Plan:
    interpreters = dict(pair.split("=", 1) for pair in given.python)
    return Plan(
        given.rows,
        given.rounds,
        given.only,
        given.concurrency,
        given.latency,
        given.kills,
        interpreters,
        given.limit,
        scratch,
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = set(names) - set(SCRIPTS)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}"
        )
    return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
