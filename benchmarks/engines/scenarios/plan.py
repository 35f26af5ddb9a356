"""What a run of the benchmarks was asked for, and what a scenario gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from work import make


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        rows: Rows of the work; None for what the scenario has by default.
        rounds: How often each client runs, in alternating order; figures are medians.
        only: Names of the clients; empty for all that the scenario has.
        concurrency: Requests in flight; empty for what the scenario has by default.
        latency: Seconds of each answer; None for what the scenario has by default.
        kills: How often the scenario `kill` kills.
        interpreters: Python for a client, by its name; the others run with the one that runs this.
        limit: Seconds after which a client's run is ended and counted as not finished.
        scratch: Folder for rows, stores and logs.
    """

    rows: int | None
    rounds: int
    only: tuple[str, ...]
    concurrency: tuple[int, ...]
    latency: float | None
    kills: int
    interpreters: Mapping[str, str]
    limit: float
    scratch: Path

    def clients(self, *default: str) -> list[str]:
        """The clients to run, of those that the scenario knows."""
        return [name for name in default if not self.only or name in self.only]

    def work(self, default: int, first: int = 0) -> tuple[Path, int]:
        """Folder and number of the rows, made if they are not there; `first` is the number of the first row."""
        count = self.rows or default
        folder = self.scratch / f"rows-{count}-from-{first}"
        make(folder, count, first)
        return folder, count


@dataclass(frozen=True)
class Check:
    """One target: what it demands, what was found, and whether that is enough."""

    target: str
    found: str
    held: bool


@dataclass
class Outcome:
    """What a scenario found.

    Attributes:
        title: What was done, in one line, with its numbers.
        table: A line each client or case; all have the same keys.
        checks: Targets.
        runs: Every single run, as it was reported.
    """

    title: str
    table: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def at_most(self, target: str, found: float, bound: float) -> None:
        """Check that a figure is not above its bound."""
        self.checks.append(Check(f"{target} <= {bound:g}", f"{found:.3g}", found <= bound))

    def at_least(self, target: str, found: float, bound: float) -> None:
        """Check that a figure is not below its bound."""
        self.checks.append(Check(f"{target} >= {bound:g}", f"{found:.3g}", found >= bound))

    def equal(self, target: str, found: object, expected: object) -> None:
        """Check that a figure is exactly what it must be."""
        self.checks.append(Check(f"{target} = {expected}", str(found), found == expected))


def medians(runs: Iterable[Mapping[str, Any]], *names: str) -> dict[str, float]:
    """The median of each figure over the runs."""
    listed = list(runs)
    return {name: median(run[name] for run in listed) for name in names}


def row_counts(runs: Iterable[Mapping[str, Any]]) -> str:
    """Rows good/wrong/rejected/missing: of all runs the worst."""
    worst = min(runs, key=lambda run: (run["rows_valid"], -run["rows_invalid_delivered"]))
    return "/".join(str(worst[f"rows_{name}"]) for name in ("valid", "invalid_delivered", "rejected", "missing"))
