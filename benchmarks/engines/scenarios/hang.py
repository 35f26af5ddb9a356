"""One request that never answers: what it costs the others."""

from __future__ import annotations

from statistics import median

from .log import read_log
from .plan import Outcome, Plan
from .processes import ALL, BenchServer, ClientRun

_TIMEOUT = 10.0
_MOST_LOST = 0.02  # of the rate


def measure(plan: Plan) -> Outcome:
    """Run each client with and without the hang; the rate is that of all rows but the last to be answered."""
    rows, count = plan.work(10_000)
    latency = 0.2 if plan.latency is None else plan.latency
    concurrency = plan.concurrency[0] if plan.concurrency else 256
    outcome = Outcome(f"hang: {count} rows, {latency:g} s latency, one request of them hangs, medians of {plan.rounds}")
    for name in plan.clients(*ALL):
        seconds: dict[int, list[float]] = {-1: [], count // 2: []}
        for turn in range(plan.rounds):
            for which in seconds if turn % 2 == 0 else reversed(seconds):
                log = plan.scratch / f"hang-{name}-{turn}-{which}.log"
                with BenchServer(log, latency=latency, hang_once=which) as server:
                    found = ClientRun(plan, name, server.url, rows, concurrency, timeout=_TIMEOUT).report()
                    outcome.runs.append({"client": name, "hangs": which, **found, "server": server.stats()})
                answers = [event.at for event in read_log(log) if event.kind == "answered"]
                if len(answers) >= count - 1:
                    seconds[which].append(answers[count - 2] - outcome.runs[-1]["server"]["first"])
        outcome.table.append(_line(name, *seconds.values()))
        if name == "ours" and all(seconds.values()):
            free, hung = (median(values) for values in seconds.values())
            outcome.at_most("share of the rate lost", 1 - free / hung, _MOST_LOST)
    return outcome


def _line(name: str, free: list[float], hung: list[float]) -> dict[str, str]:
    line = {"client": name, "s without": f"{median(free):.2f}" if free else "not all rows answered"}
    line["s with"] = f"{median(hung):.2f}" if hung else "not all rows answered"
    line["rate lost"] = f"{1 - median(free) / median(hung):.1%}" if free and hung else ""
    return line
