"""Anonymous memory of this project at many rows against few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .plan import Outcome, Plan, row_counts
from .processes import BenchServer, ClientRun

_FEW = 10_000
_MOST_MORE = 64.0  # MB


def measure(plan: Plan) -> Outcome:
    """Run 10,000 rows, then `--rows` of them (a million by default)."""
    many, count = plan.work(1_000_000)
    few, _ = _few(plan)
    outcome = Outcome(f"memory: peak anonymous memory at {count} rows against {_FEW}")
    with BenchServer(latency=0.02 if plan.latency is None else plan.latency) as server:
        for rows, number in ((few, _FEW), (many, count)):
            found = ClientRun(plan, "ours", server.url, rows, plan.concurrency[0] if plan.concurrency else 256).report()
            outcome.runs.append({"client": "ours", "rows": number, **found})
    ended = [run for run in outcome.runs if "failed" not in run]
    outcome.table = [
        {
            "rows": run["rows"],
            "MB": f"{run['peak_rss_anon_mb']:.0f}",
            "wall s": f"{run['wall_s']:.1f}",
            "counts": row_counts([run]),
        }
        for run in ended
    ]
    outcome.equal("runs that ended", len(ended), 2)
    if len(ended) == 2:
        more = ended[1]["peak_rss_anon_mb"] - ended[0]["peak_rss_anon_mb"]
        outcome.at_most(f"MB more at {count} rows", more, _MOST_MORE)
        outcome.equal("valid rows", ended[1]["rows_valid"], count)
    return outcome


def _few(plan: Plan) -> tuple[Path, int]:
    return replace(plan, rows=_FEW).work(_FEW)
