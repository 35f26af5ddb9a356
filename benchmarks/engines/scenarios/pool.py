"""Two servers for one run of this project; one of them dies at half."""

from __future__ import annotations

import time

from .plan import Outcome, Plan
from .processes import BenchServer, ClientRun


def measure(plan: Plan) -> Outcome:
    """End the first server when half of the rows are answered."""
    rows, count = plan.work(10_000)
    latency = 0.2 if plan.latency is None else plan.latency
    concurrency = plan.concurrency[0] if plan.concurrency else 128
    outcome = Outcome(f"pool: {count} rows, two servers with {concurrency} in flight each, one dies at half")
    with BenchServer(latency=latency) as dies, BenchServer(latency=latency) as stays:
        run = ClientRun(plan, "ours", f"{dies.url},{stays.url}", rows, concurrency)
        before = {"answered": 0}
        while before["answered"] + stays.stats()["answered"] < count / 2 and run.process.poll() is None:
            before = dies.stats()
            time.sleep(0.01)
        dies.kill()
        found = run.report()
        after = stays.stats()
    served = found.get("notes", {}).get("served", {})
    outcome.runs.append({"client": "ours", **found})
    outcome.table = [
        {"server": "dies", "answered": before["answered"], "as the client says": served.get(dies.url)},
        {"server": "stays", "answered": after["answered"], "as the client says": served.get(stays.url)},
    ]
    outcome.equal("run ended", "failed" not in found, True)
    outcome.equal("valid rows", found.get("rows_valid", 0), count)
    outcome.equal("sum of the shares", sum(served.values()), count)
    return outcome
