"""All faults at once, for all clients; then, for this project, rows that no draw can answer."""

from __future__ import annotations

from typing import Any

from replies import share_of
from work import mark

from .plan import Outcome, Plan, medians, row_counts
from .processes import ALL, BenchServer, ClientRun

_FAULTS = {"status_429": 0.05, "status_500": 0.02, "malformed": 0.01, "hang": 0.005}
_TIMEOUT = 10.0
_POISON = 0.01
_MOST_ATTEMPTS = 1.10  # requests a row
_LONGEST = 30.0  # seconds


def measure(plan: Plan) -> Outcome:
    """Run all clients under faults; this project once more with poisoned rows."""
    rows, count = plan.work(10_000)
    latency = 0.2 if plan.latency is None else plan.latency
    shares = ", ".join(f"{share:.1%} {name}" for name, share in _FAULTS.items())
    outcome = Outcome(f"faults: {count} rows, {latency:g} s latency, time-out {_TIMEOUT:g} s; {shares}")
    concurrency = plan.concurrency[0] if plan.concurrency else 256
    clients = plan.clients(*(name for name in ALL if name != "bare"))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in clients}
    with BenchServer(latency=latency, **_FAULTS) as server:
        for turn in range(plan.rounds):
            for name in clients if turn % 2 == 0 else reversed(clients):
                server.reset(seed=turn)
                found = ClientRun(plan, name, server.url, rows, concurrency, timeout=_TIMEOUT).report()
                runs[name].append({"client": name, **found, "server": server.stats()})
        outcome.runs += [run for name in clients for run in runs[name]]
        outcome.table += [_line(name, runs[name], count) for name in clients]
        if "ours" in clients:
            _check(outcome, runs["ours"], count)
            server.reset(poison=_POISON)
            found = ClientRun(plan, "ours", server.url, rows, concurrency, timeout=_TIMEOUT).report()
            poisoned = {"client": "ours, poisoned rows", **found, "server": server.stats()}
            outcome.runs.append(poisoned)
            outcome.table.append(_line("ours, poisoned rows", [poisoned], count))
            _check_poisoned(outcome, poisoned, count)
    return outcome


def _line(name: str, runs: list[dict[str, Any]], count: int) -> dict[str, Any]:
    failed = [run["failed"] for run in runs if "failed" in run]
    requests = max(run["server"]["requests"] for run in runs) / count
    line = {"client": name, "wall s": "", "requests a row": f"{requests:.3f}", "rows": "", "CPU s/1000": ""}
    if failed:
        return {**line, "wall s": "no result", "rows": failed[0][:80]}
    middle = medians(runs, "wall_s", "cpu_s")
    return {
        **line,
        "wall s": f"{middle['wall_s']:.1f}",
        "rows": row_counts(runs),
        "CPU s/1000": f"{middle['cpu_s'] / count * 1000:.2f}",
    }


def _check(outcome: Outcome, runs: list[dict[str, Any]], count: int) -> None:
    outcome.equal("runs that ended", sum("failed" not in run for run in runs), len(runs))
    ended = [run for run in runs if "failed" not in run]
    if ended:
        outcome.equal("fewest valid rows", min(run["rows_valid"] for run in ended), count)
        outcome.equal("invalid rows delivered", max(run["rows_invalid_delivered"] for run in ended), 0)
        outcome.at_most("most attempts a row", max(run["server"]["requests"] for run in ended) / count, _MOST_ATTEMPTS)
        outcome.at_most("seconds", medians(ended, "wall_s")["wall_s"], _LONGEST)


def _check_poisoned(outcome: Outcome, run: dict[str, Any], count: int) -> None:
    expected = sum(share_of(mark(number).encode()) < _POISON for number in range(count))
    outcome.equal("poisoned: run ended", "failed" not in run, True)
    if "failed" not in run:
        outcome.equal("poisoned: good + rejected rows", run["rows_valid"] + run["rows_rejected"], count)
        outcome.equal("poisoned: rejected with reason and attempts", run["rows_rejected"], expected)
        outcome.equal("poisoned: invalid rows delivered", run["rows_invalid_delivered"], 0)
