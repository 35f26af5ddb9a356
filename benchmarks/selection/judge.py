"""Comparative and singleton scoring by a simulated judge whose faults are known.

    python benchmarks/selection/judge.py
    python benchmarks/selection/judge.py --clusters 10    # smaller

What is assumed of the judge stands in tests/selection/simulated_judge.py, and in the result. Nothing is asked, and
nothing here says how a real judge is: it says what the scores make of one that is as assumed. Writes a JSON and a
Markdown file into benchmarks/results; the exit status is 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset, disable_progress_bars
from scipy.stats import kendalltau

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines"), str(ROOT / "tests")]

from scenarios.plan import Outcome  # noqa: E402 - the folders of the benchmarks come onto the path first
from scenarios.report import as_text, machine, save  # noqa: E402
from selection import simulated_judge as simulated  # noqa: E402

from tagevol_hf.selection.length_control import control_length  # noqa: E402
from tagevol_hf.selection.pairing import pairs  # noqa: E402
from tagevol_hf.selection.reliability import reliability  # noqa: E402
from tagevol_hf.selection.scores import add_scores, fold_scores  # noqa: E402

Judge, World = simulated.Judge, simulated.World
_ROWS = 100  # of a cluster


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    disable_progress_bars()
    where, outcome = machine(), measure(given.clusters)
    file = save(given.results, "selection-judge", where, outcome)
    _, _, assumed = (simulated.__doc__ or "").partition("\n\n")
    with file.open("a", encoding="utf-8") as text:
        text.write(f"\n{_READING}\n## What is assumed\n\n{assumed}")
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def measure(clusters: int) -> Outcome:
    """All questions, on the same rows."""
    outcome = Outcome(f"comparative and singleton scoring, simulated: {clusters * _ROWS:,} rows in {clusters} clusters")
    there = simulated.world(clusters * _ROWS, clusters)
    outcome.runs.append({"assumptions": simulated.__doc__})
    for part in (against_singleton, budgets, lopsided, between_clusters, position, length, speed):
        part(outcome, there)
    return outcome


def against_singleton(outcome: Outcome, there: World) -> None:
    """The issue's comparison: two comparative calls a row, four scores; two singleton calls a row, two scores."""
    planned = pairs(there.rows, comparisons=2)
    for ceiling in (0.0, 0.3, 0.76):
        for noise in (4.0, 8.0, 16.0):
            judge = Judge(noise=noise, mood=noise / 2, position=5, ceiling=ceiling)
            case = f"noise {noise:g}, {_ceiling(ceiling)}"
            mean, _, single = _taus(outcome, "same number of calls", case, there, judge, planned)
            outcome.at_least(f"tau of the mean minus that of singleton, {case}", mean - single, 0)
    for judge, case in (
        (Judge(ceiling=0.76, both_cut=True), "noise 8, 76% at the ceiling in comparisons, too"),
        (Judge(contrast=1), "noise 8, no ceiling, contrast 1"),
        (Judge(contrast=4), "noise 8, no ceiling, contrast 4"),
        (Judge(mood=0), "noise 8, no ceiling, no mood"),
    ):
        _taus(outcome, "same number of calls", case, there, judge, planned)


def budgets(outcome: Outcome, there: World) -> None:
    """More and fewer calls; and as many scores instead of as many calls, which is about the same number of tokens."""
    for others, orders in ((2, "one"), (1, "both"), (4, "both"), (8, "both")):
        planned = pairs(there.rows, comparisons=others, orders=orders)
        _taus(outcome, "more or fewer", f"{others} others, {_orders(orders)}", there, Judge(position=5), planned)
    few = pairs(there.rows, comparisons=1)
    for judge, case in ((Judge(), "no ceiling"), (Judge(ceiling=0.76), _ceiling(0.76))):
        _taus(outcome, "same number of scores", f"noise 8, {case}", there, judge, few, times=2)


def lopsided(outcome: Outcome, there: World) -> None:
    """Where the mean is wrong: rows meet rows of near worth, and the judge sees contrasts."""
    planned = simulated.against_equals(there, near=20, meetings=10)
    for contrast in (0.0, 1.0, 3.0):
        case = f"near ranks, contrast {contrast:g}"
        mean, verdicts, _ = _taus(outcome, "lopsided plan", case, there, Judge(contrast=contrast), planned)
    outcome.at_least("tau of Bradley-Terry minus that of the mean, near ranks, contrast 3", verdicts - mean, 0.1)


def between_clusters(outcome: Outcome, there: World) -> None:
    """Where Bradley-Terry is wrong: rows that no chain of pairs links."""
    clusters = len(set(there.cluster.tolist()))
    apart = simulated.world(len(there.rows), clusters, between=0.5)
    planned = pairs(apart.rows, comparisons=8)
    mean, verdicts, _ = _taus(
        outcome, "over all clusters", "half of the variance is between clusters", apart, Judge(), planned, inside=False
    )
    outcome.at_least("tau of the mean minus that of Bradley-Terry, over all clusters", mean - verdicts, 0.1)


def position(outcome: Outcome, there: World) -> None:
    """What the first place gains, with one order and with both; the number of calls is the same."""
    for points in (0.0, 8.0, 16.0):
        for orders, others in (("one", 4), ("both", 2)):
            compared = Judge(position=points).compare(pairs(there.rows, comparisons=others, orders=orders), there)
            found = reliability(compared)
            case = f"{points:g} points for the first place, {_orders(orders)}"
            figures = {name: found[name] for name in ("position_bias", "flip_rate") if found[name] is not None}
            figures["tau"] = there.tau(simulated.values(fold_scores(compared)))
            for name, figure in figures.items():
                _add(outcome, "position", case, len(compared) / len(there.rows), name, figure)
            if orders == "both":
                outcome.at_most(f"position bias, {case}", abs(found["position_bias"]), 0.01)


def length(outcome: Outcome, there: World) -> None:
    """Scores and lengths before and after control; and what it costs where longer answers are better."""
    clusters = len(set(there.cluster.tolist()))
    better = simulated.world(len(there.rows), clusters, length_with_worth=0.6)
    for world, case in ((there, "length says nothing"), (better, "longer is better (r 0.6)")):
        for points in (0.0, 8.0):
            compared = Judge(length=points).compare(pairs(world.rows, comparisons=2), world)
            rows = control_length(add_scores(world.rows, fold_scores(compared)))
            for name, when in (("score", "before"), ("length_controlled_score", "after control")):
                of_length = float(kendalltau(rows[name], world.length).statistic)
                tau = world.tau(dict(zip(rows["id"], rows[name], strict=True)))
                full = f"{case}, {points:g} points a deviation, {when}"
                _add(outcome, "length", full, 2, "tau with length", of_length)
                _add(outcome, "length", full, 2, "tau", tau)
                if points and world is there and when != "before":
                    outcome.at_most(f"tau with length, {full}", abs(of_length), 0.05)


def speed(outcome: Outcome, there: World) -> None:
    """Seconds for four others a row, in both orders."""
    compared = Judge().compare(pairs(there.rows, comparisons=4), there)
    for name, work in (("mean", _mean), ("Bradley-Terry", _strengths), ("reliability", reliability)):
        start = time.perf_counter()
        work(compared)
        seconds = time.perf_counter() - start
        _add(outcome, "speed", f"{name}, {len(compared):,} judgments", 4, "seconds", seconds)
        outcome.at_most(f"seconds of {name}", seconds, 5)


def _mean(compared: Dataset) -> object:
    return fold_scores(compared)


def _strengths(compared: Dataset) -> object:
    return fold_scores(compared, "bradley-terry")


def _taus(
    outcome: Outcome,
    question: str,
    case: str,
    there: World,
    judge: Judge,
    planned: Dataset,
    *,
    times: int | None = None,
    inside: bool = True,
) -> tuple[float, float, float]:
    """Kendall's tau of mean, Bradley-Terry and as many singleton calls; `times` says how many instead."""
    calls = len(planned) / len(there.rows)
    compared = judge.compare(planned, there)
    kinds: Iterator[dict[str, float]] = iter(
        (
            simulated.values(fold_scores(compared)),
            simulated.values(fold_scores(compared, "bradley-terry")),
            judge.single(there, times or max(1, round(calls))),
        )
    )
    mean, verdicts, single = (there.tau(kind, inside) for kind in kinds)
    noted = f"{case}; singleton {times} calls" if times else case
    _add(outcome, question, noted, calls, "tau", mean, verdicts, single)
    return mean, verdicts, single


def _add(
    outcome: Outcome,
    question: str,
    case: str,
    calls: float,
    what: str,
    mean: float | None,
    verdicts: float | None = None,
    single: float | None = None,
) -> None:
    figures = {"mean": mean, "Bradley-Terry": verdicts, "singleton": single}
    shown = {name: "" if value is None else f"{value:.4f}" if what == "position_bias" else f"{value:.3f}"
             for name, value in figures.items()}  # fmt: skip
    outcome.table.append({"question": question, "case": case, "calls a row": f"{calls:.2f}", "figure": what, **shown})
    outcome.runs.append({"question": question, "case": case, "calls_a_row": calls, "figure": what, **figures})


def _orders(orders: str) -> str:
    return "both orders" if orders == "both" else "one order"


def _ceiling(share: float) -> str:
    return f"{share:.0%} at the ceiling" if share else "no ceiling"


_READING = """## How to read it

- tau: Kendall's tau-b with the true worth, the mean over the clusters (over all rows where the table says so). "mean",
  "Bradley-Terry": of comparative scores; "singleton": of the mean of as many calls for each row by itself.
- One comparative call scores two rows: at the same number of calls each row has twice as many comparative scores, from
  prompts about twice as long. "Same number of scores" takes this advantage away.
- Figures that have no such columns stand under "mean": they are of the mean score, or of the comparisons.
- Singleton calls are drawn anew each time; at temperature 0 a real judge would repeat itself, and more calls
  would add nothing.
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=50, help=f"each of {_ROWS} rows")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
