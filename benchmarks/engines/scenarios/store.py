"""The request store of this project: a re-run from it, its size, and two processes that write to it at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .plan import Outcome, Plan
from .processes import BenchServer, ClientRun

_REPLY = {"tags": 5, "characters": 137}  # 900 characters of JSON
_SECONDS, _MEGABYTES = 4.0, 60.0  # for 50,000 replies
_SHARED = 5_000  # rows of each of two processes; half of them are the same


def measure(plan: Plan) -> Outcome:
    """Fill a store, run again from it, then let two processes write."""
    rows, count = plan.work(50_000)
    outcome = Outcome(f"store: {count} replies of 900 characters")
    concurrency = plan.concurrency[0] if plan.concurrency else 256
    with BenchServer(latency=plan.latency or 0.0, **_REPLY) as server:
        first = ClientRun(plan, "ours", server.url, rows, concurrency)
        outcome.runs.append({"case": "first run", **first.report()})
        asked, size = server.stats()["requests"], _megabytes(first.folder)
        second = ClientRun(plan, "ours", server.url, rows, concurrency, folder=first.folder, label="again")
        outcome.runs.append({"case": "served from the store", **second.report()})
        asked_again = server.stats()["requests"] - asked
    outcome.table = [_line(run) for run in outcome.runs]
    outcome.equal("requests of the second run", asked_again, 0)
    if not any("failed" in run for run in outcome.runs):
        outcome.equal("valid rows of the second run", outcome.runs[-1]["rows_valid"], count)
        outcome.at_most("seconds of the second run", outcome.runs[-1]["wall_s"], _SECONDS)
    outcome.at_most("MB of the store", size, _MEGABYTES)
    _two_writers(plan, outcome, concurrency)
    return outcome


def _two_writers(plan: Plan, outcome: Outcome, concurrency: int) -> None:
    """Two processes with one store, at once, on rows of which half are the same."""
    count = min(plan.rows or _SHARED, _SHARED)
    plan = replace(plan, rows=count)
    parts = [plan.work(count)[0], plan.work(count, first=count // 2)[0]]
    folder = plan.scratch / "shared"
    with BenchServer(latency=0.02) as server:
        runs = [
            ClientRun(plan, "ours", server.url, part, concurrency, folder=folder, label=f"writer-{number}")
            for number, part in enumerate(parts)
        ]
        found = [{"case": f"writer {number} of two", **run.report()} for number, run in enumerate(runs, 1)]
    outcome.runs += found
    outcome.table += [_line(run) for run in found]
    outcome.equal("valid rows of both writers", sum(run.get("rows_valid", 0) for run in found), 2 * count)
    outcome.equal("replies in the shared store", _replies(folder), count + count // 2)


def _line(run: dict[str, object]) -> dict[str, object]:
    names = ("wall_s", "cpu_s", "rows_valid", "failed")
    return {"case": run["case"], **{name: _short(run.get(name, "")) for name in names}}


def _short(value: object) -> object:
    return f"{value:.2f}" if isinstance(value, float) else value


def _replies(folder: Path) -> int:
    from tagevol_hf.engines.store import RequestStore

    store = RequestStore(folder / "store.sqlite")
    try:
        return len(store)
    finally:
        store.close()


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("store.sqlite*")) / 1e6
