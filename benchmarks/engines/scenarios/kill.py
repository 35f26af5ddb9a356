"""`kill -9` at random moments of a run, and a restart: what is asked again, and whether the rows are the same."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from random import Random
from typing import Any

from work import load_rows, mark

from .log import Event, read_log
from .plan import Outcome, Plan
from .processes import BenchServer, ClientRun

_SOON = 0.1  # seconds: an answer that left the server longer before the kill must not be asked for again
_RESTART = 5.0  # seconds from the start of the process to its first request


def measure(plan: Plan) -> Outcome:
    """Kill and restart this project, `plan.kills` times, each time in a new folder."""
    rows, count = plan.work(2_000)
    latency = 0.2 if plan.latency is None else plan.latency
    concurrency = plan.concurrency[0] if plan.concurrency else 256
    outcome = Outcome(f"kill: {count} rows, {concurrency} in flight, {plan.kills} times kill -9 at a random moment")
    moments = Random(count)
    with BenchServer(plan.scratch / "whole.log", latency=latency) as server:
        whole = ClientRun(plan, "ours", server.url, rows, concurrency)
        length = whole.report()["wall_s"]
    expected = _rows_of(whole.folder)
    for number in range(plan.kills):
        trial = _trial(plan, rows, concurrency, latency, moments.uniform(0, length), number)
        trial["same_rows"] = _rows_of(plan.scratch / f"killed-{number}") == expected
        outcome.runs.append(trial)
        shutil.rmtree(plan.scratch / f"killed-{number}")
    outcome.table = [
        {
            "killed after s": f"{run['after_s']:.2f}",
            "answered": run["answered"],
            "stored": run["stored"],
            "asked again": run["again"],
            "late": run["late"],
            "though stored": run["though_stored"],
            "s to first request": "none needed" if run["restart_s"] is None else f"{run['restart_s']:.2f}",
            "rows": "same" if run["same_rows"] else "DIFFER",
        }
        for run in outcome.runs
    ]
    _check(outcome, concurrency, count)
    return outcome


def _check(outcome: Outcome, concurrency: int, count: int) -> None:
    runs = outcome.runs
    outcome.equal("runs with the same rows, byte by byte", sum(run["same_rows"] for run in runs), len(runs))
    outcome.equal("fewest valid rows", min(run.get("rows_valid", 0) for run in runs), count)
    outcome.at_most("most asked again", max(run["again"] for run in runs), concurrency)
    outcome.equal("asked again, answered long before the kill", sum(run["late"] for run in runs), 0)
    outcome.equal("asked again though stored", sum(run["though_stored"] for run in runs), 0)
    outcome.at_most("seconds from restart to first request", max(run["restart_s"] or 0.0 for run in runs), _RESTART)


def _trial(plan: Plan, rows: Path, concurrency: int, latency: float, after: float, number: int) -> dict[str, Any]:
    """One kill, so many seconds after the first request, and the run that goes on from there."""
    log, folder = plan.scratch / f"killed-{number}.log", plan.scratch / f"killed-{number}"
    with BenchServer(log, latency=latency) as server:
        first = ClientRun(plan, "ours", server.url, rows, concurrency, folder=folder)
        _wait_for_request(server, first)
        time.sleep(after)
        killed = time.monotonic()
        first.kill()
        kept = _stored(folder, rows)
        second = ClientRun(plan, "ours", server.url, rows, concurrency, folder=folder)
        found = second.report()
    events = read_log(log)
    return {**found, "after_s": after, "stored": len(kept), **_asked_again(events, killed, second.started, kept)}


def _wait_for_request(server: BenchServer, run: ClientRun) -> None:
    while server.stats()["requests"] == 0 and run.process.poll() is None:
        time.sleep(0.01)


def _asked_again(events: list[Event], killed: float, restarted: float, stored: set[str]) -> dict[str, Any]:
    """What the second run asked of what the first had asked."""
    before = {event.digest for event in events if event.kind == "asked" and event.at < restarted}
    after = [event for event in events if event.kind == "asked" and event.at >= restarted]
    answered = {event.digest: event.at for event in events if event.kind == "answered" and event.at < restarted}
    again = [event for event in after if event.digest in before]
    return {
        "answered": sum(at < killed for at in answered.values()),
        "again": len(again),
        "late": sum(answered.get(event.digest, killed) < killed - _SOON for event in again),
        "though_stored": sum(event.row in stored for event in after),
        "restart_s": after[0].at - restarted if after else None,
    }


def _stored(folder: Path, rows: Path) -> set[str]:
    """Marks of the rows whose first reply the store holds, seen in a copy."""
    from tagevol_hf.engines.builtin import BuiltinEngine
    from tagevol_hf.engines.store import RequestStore
    from tagevol_hf.tags.taggers import OpenTagger

    copy = folder.with_name(f"{folder.name}-copy")
    copy.mkdir()
    for file in folder.glob("store.sqlite*"):
        shutil.copy(file, copy)
    if not (copy / "store.sqlite").exists():
        return set()
    store, stage = RequestStore(copy / "store.sqlite"), OpenTagger(BuiltinEngine())
    kept = {
        mark(int(row["id"].removeprefix("row-")))
        for row in load_rows(rows)
        if store.get(stage.request(row).key("bench")) is not None
    }
    store.close()
    return kept


def _rows_of(folder: Path) -> str:
    """Digest of the bytes of the rows that a run wrote."""
    files = sorted((folder / "tagged-report").glob("*.arrow"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else "none"
