"""Measure calls, tokens and the longest chain of each method on the same seeds and the same local server.

    python benchmarks/evolution/calls.py
    python benchmarks/evolution/calls.py --python distilabel=/envs/distilabel/bin/python

The server (`counting.py`) counts; it evolves by rule, once without faults and once with 2 % of its replies cut off.
Writes a JSON and a Markdown file into benchmarks/results; the exit status is 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from datasets import Dataset

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines"), str(Path(__file__).parent)]

from counting import Server  # noqa: E402
from scenarios.plan import Outcome  # noqa: E402 - the folders of the benchmarks come onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402

from tagevol_hf.engines.open import open_engine  # noqa: E402
from tagevol_hf.engines.stored import StoredEngine  # noqa: E402
from tagevol_hf.evolve.auto_evol import AutoEvol  # noqa: E402
from tagevol_hf.evolve.eliminate import Eliminator, EqualityJudge  # noqa: E402
from tagevol_hf.evolve.evol_instruct import EvolInstruct  # noqa: E402
from tagevol_hf.evolve.respond import Responder  # noqa: E402
from tagevol_hf.evolve.rounds import evolve_in_rounds  # noqa: E402
from tagevol_hf.evolve.tag_evol import TagEvol, draw_candidates  # noqa: E402
from tagevol_hf.formats import prepare  # noqa: E402
from tagevol_hf.rows import split_rejected  # noqa: E402
from tagevol_hf.tags.pool import TagPool  # noqa: E402
from tagevol_hf.tags.taggers import AspectTagger  # noqa: E402

_BUDGETS, _ROUNDS, _CALLS = (1, 3, 5), 3, 1.05
_FAULTS = (0.0, 0.02)
Method = Callable[[list[str], StoredEngine], Dataset]


def tag_evol(seeds: list[str], engine: StoredEngine) -> Dataset:
    """The seeds are tagged, a call each, which all budgets share; then three budgets, each from the seed."""
    tagged = AspectTagger(engine).apply(prepare(Dataset.from_dict({"instruction": seeds})))
    pool = TagPool({f"field {number} of knowledge": {"topic": 1} for number in range(200)})
    return TagEvol(engine).apply(draw_candidates(tagged, pool, _BUDGETS))


def evol_instruct(seeds: list[str], engine: StoredEngine) -> Dataset:
    """Three rounds without elimination, as Tag-Evol's paper ran it."""
    return evolve_in_rounds(prepare(Dataset.from_dict({"instruction": seeds})), EvolInstruct(engine), _ROUNDS)


def with_elimination(seeds: list[str], engine: StoredEngine) -> Dataset:
    """Three rounds, each with the equality judge and the answers."""
    eliminator = Eliminator(EqualityJudge(engine), Responder(engine))
    return evolve_in_rounds(
        prepare(Dataset.from_dict({"instruction": seeds})), EvolInstruct(engine), _ROUNDS, eliminator
    )


def auto_evol(seeds: list[str], engine: StoredEngine) -> Dataset:
    """Three rounds by the fixed method."""
    return evolve_in_rounds(prepare(Dataset.from_dict({"instruction": seeds})), AutoEvol(engine), _ROUNDS)


METHODS: Mapping[str, Method] = {
    "Tag-Evol, budgets 1 3 5": tag_evol,
    "Evol-Instruct, 3 rounds": evol_instruct,
    "Evol-Instruct, 3 rounds, elimination": with_elimination,
    "Auto Evol-Instruct (fixed), 3 rounds": auto_evol,
}


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    outcome = measure(given.seeds, dict(pair.split("=", 1) for pair in given.python))
    file = save(given.results, "evolution-calls", machine(), outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def measure(count: int, interpreters: Mapping[str, str]) -> Outcome:
    """All methods, without and with faults."""
    seeds = [f"Task {number}: plan a day for {number + 2} people and say what it costs." for number in range(count)]
    outcome = Outcome(
        f"evolution calls: {count} seeds, one local server, without and with {_FAULTS[1]:.0%} of replies cut off"
    )
    for faults in _FAULTS:
        for name, method in METHODS.items():
            with Server(faults) as server, tempfile.TemporaryDirectory(prefix="bench-calls-") as folder:
                engine = open_engine(f"{server.url}#bench", store=Path(folder) / "store.sqlite")
                done = method(seeds, engine)
                engine.close()
                accepted = len(split_rejected(done)[0])
                last = sum(row["rejection"] is None and row.get("round", _ROUNDS) == _ROUNDS for row in done)
                _add(
                    outcome,
                    name,
                    faults,
                    server,
                    accepted,
                    len(done) - accepted,
                    last if "round" in done.column_names else None,
                )
        if "distilabel" in interpreters:
            _distilabel(outcome, faults, seeds, interpreters["distilabel"])
    for run in outcome.runs:
        if run.get("case") == "Tag-Evol, budgets 1 3 5":
            outcome.at_most(
                f"Tag-Evol calls an accepted instruction at {run['faults']:.0%} faults", run["calls_each"], _CALLS
            )
            outcome.equal(f"Tag-Evol longest chain at {run['faults']:.0%} faults", run["chain"], 1)
    return outcome


def _distilabel(outcome: Outcome, faults: float, seeds: list[str], python: str) -> None:
    """EvolInstruct of distilabel; what it keeps of the rounds changes what a call gives, not how many there are."""
    for kept in ("last", "all"):
        with Server(faults) as server, tempfile.TemporaryDirectory(prefix="bench-calls-") as folder:
            file = Path(folder) / "seeds.json"
            file.write_text(json.dumps(seeds))
            command = [python, str(Path(__file__).parent / "with_distilabel.py"), server.url, str(file), kept]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603 - ours
            found = json.loads(done.stdout.strip().splitlines()[-1])
            name = f"distilabel EvolInstruct, 3 rounds, {kept} kept"
            rejected = f"none; {found['cut']} cut ones delivered" if found["cut"] else 0
            _add(outcome, name, faults, server, found["accepted"], rejected, None)
            outcome.runs[-1]["versions"] = {"distilabel": found["version"]}


def _add(
    outcome: Outcome, name: str, faults: float, server: Server, accepted: int, rejected: int | str, last: int | None
) -> None:
    evolving = server.evolving(server.calls)
    tokens = server.prompt_tokens.total() + server.completion_tokens.total()
    others = server.calls.total() - evolving
    each, each_last = evolving / max(1, accepted), evolving / max(1, last) if last else None
    outcome.table.append(
        {
            "method": name,
            "faults": f"{faults:.0%}",
            "calls": evolving,
            "tags, judge, answers": others,
            "accepted": accepted,
            "rejected": rejected,
            "calls a row": f"{each:.3f}",
            "last round only": "" if each_last is None else f"{each_last:.3f}",
            "tokens a row (characters / 4)": f"{tokens / max(1, accepted):,.0f}",
            "longest chain": server.longest_chain,
        }
    )
    outcome.runs.append(
        {
            "case": name,
            "faults": faults,
            "calls": dict(server.calls),
            "prompt_tokens": dict(server.prompt_tokens),
            "completion_tokens": dict(server.completion_tokens),
            "accepted": accepted,
            "rejected": rejected,
            "calls_each": each,
            "calls_each_last": each_last,
            "chain": server.longest_chain,
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--python", action="append", default=[], metavar="CLIENT=PATH", help="a peer's interpreter")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
