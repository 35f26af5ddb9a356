"""The same rows through every client, against the ideal and against the bare client."""

from __future__ import annotations

from typing import Any

from .plan import Outcome, Plan, medians, row_counts
from .processes import ALL, BenchServer, ClientRun

_WALL = {256: 1.20, 1024: 2.0}  # times the ideal
_OF_BARE = {256: 0.90, 1024: 0.75}
_OVER_PEER = {"curator": {256: 1.5, 1024: 3.5}, "distilabel": {256: 3.5, 1024: 8.0}}
_CPU = 0.35  # seconds a thousand rows


def measure(plan: Plan) -> Outcome:
    """Run all clients at each concurrency, `plan.rounds` times in alternating order."""
    rows, count = plan.work(10_000)
    latency = 0.2 if plan.latency is None else plan.latency
    outcome = Outcome(f"throughput: {count} rows, {latency:g} s latency, medians of {plan.rounds}")
    clients = plan.clients(*ALL)
    with BenchServer(latency=latency) as server:
        for concurrency in plan.concurrency or (256, 1024):
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in clients}
            for turn in range(plan.rounds):
                for name in clients if turn % 2 == 0 else reversed(clients):
                    server.reset()
                    found = ClientRun(plan, name, server.url, rows, concurrency).report()
                    runs[name].append({"client": name, "concurrency": concurrency, **found, "server": server.stats()})
            outcome.runs += [run for name in clients for run in runs[name]]
            good = {name: _figures(runs[name]) for name in clients if not any("failed" in run for run in runs[name])}
            ideal = count / concurrency * latency
            outcome.table += [_line(name, concurrency, runs[name], good, ideal, count) for name in clients]
            _check(outcome, good, concurrency, ideal, count)
    return outcome


def _figures(runs: list[dict[str, Any]]) -> dict[str, float]:
    return medians(runs, "wall_s", "cpu_s", "peak_rss_anon_mb")


def _line(
    name: str,
    concurrency: int,
    runs: list[dict[str, Any]],
    good: dict[str, dict[str, float]],
    ideal: float,
    count: int,
) -> dict[str, Any]:
    line: dict[str, Any] = {"client": name, "in flight": concurrency}
    if name not in good:
        why = next(run["failed"] for run in runs if "failed" in run)
        return {**line, "wall/ideal": "not run", "of bare": "", "CPU s/1000": "", "MB": "", "rows": why[:80]}
    wall = good[name]["wall_s"]
    return {
        **line,
        "wall/ideal": f"{wall / ideal:.2f}",
        "of bare": f"{good['bare']['wall_s'] / wall:.2f}" if "bare" in good else "",
        "CPU s/1000": f"{good[name]['cpu_s'] / count * 1000:.2f}",
        "MB": f"{good[name]['peak_rss_anon_mb']:.0f}",
        "rows": row_counts(runs),
    }


def _check(outcome: Outcome, good: dict[str, dict[str, float]], concurrency: int, ideal: float, count: int) -> None:
    if "ours" not in good or concurrency not in _WALL:
        return
    wall, where = good["ours"]["wall_s"], f"at {concurrency}"
    outcome.at_most(f"wall / ideal {where}", wall / ideal, _WALL[concurrency])
    outcome.at_most(f"CPU seconds a 1,000 rows {where}", good["ours"]["cpu_s"] / count * 1000, _CPU)
    if "bare" in good:
        outcome.at_least(
            f"share of the bare client's rate {where}", good["bare"]["wall_s"] / wall, _OF_BARE[concurrency]
        )
    for peer, factors in _OVER_PEER.items():
        if peer in good:
            outcome.at_least(f"times {peer}'s rate {where}", good[peer]["wall_s"] / wall, factors[concurrency])
