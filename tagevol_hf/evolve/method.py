"""An optimised method, and how it came about: a value that can be saved and read again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

_FORMAT = 1


@dataclass(frozen=True)
class Trial:
    """One candidate method of a step.

    Attributes:
        method: Its text; empty where the optimiser's reply could not be used.
        failure_rate: Share of the development set on which it failed, in [0, 1]; None where it was not tried.
        failures: How often each kind of failure was seen.
        note: Why it was not tried; else empty.
    """

    method: str
    failure_rate: float | None
    failures: dict[str, int]
    note: str = ""


@dataclass(frozen=True)
class OptimizationStep:
    """One step of the loop.

    Attributes:
        number: From 1.
        batch: Ids of the mini-batch.
        found: Failures that the optimiser named, {case, reason}; cases count from 1 in the order of `batch`.
        feedback: What it said in sum.
        trials: The candidates.
        chosen: Number of the candidate that became the method, from 1; None where none was better.
        note: Why there is no analysis; else empty.
    """

    number: int
    batch: tuple[str, ...]
    found: tuple[dict[str, Any], ...]
    feedback: str
    trials: tuple[Trial, ...]
    chosen: int | None
    note: str = ""


@dataclass(frozen=True)
class OptimizedMethod:
    """What the optimisation found.

    Attributes:
        method: The best method's text.
        failure_rate: Of that method on the development set, in [0, 1].
        first: The method that it began with, tried on the development set.
        steps: What each step did.
        ended: Why it ended.
        notes: What a reader must know besides.
    """

    method: str
    failure_rate: float
    first: Trial
    steps: tuple[OptimizationStep, ...]
    ended: str
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The same as plain values of JSON."""
        body: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return body

    def summary(self) -> dict[str, Any]:
        """Steps, the failure rate before and after, and why it ended."""
        return {
            "optimization_steps": len(self.steps),
            "failure_rate_before": self.first.failure_rate,
            "failure_rate": self.failure_rate,
            "ended": self.ended,
            **({"note": " ".join(self.notes)} if self.notes else {}),
        }

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        text = json.dumps({"format": _FORMAT, **self.plain()}, ensure_ascii=False, indent=1)
        Path(path).write_text(text, encoding="utf-8", errors="surrogatepass")

    @classmethod
    def load(cls, path: str | Path) -> OptimizedMethod:
        """Read what `save` wrote.

        Raises:
            DataError: If the file cannot be read or holds no optimised method.
        """
        try:
            body: Any = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogatepass"))
            if body.pop("format") != _FORMAT:
                raise DataError(f"{path}: an optimised method of another format, expected {_FORMAT}; optimise again")
            first, steps = Trial(**body.pop("first")), tuple(_step(step) for step in body.pop("steps"))
            return cls(first=first, steps=steps, notes=tuple(body.pop("notes")), **body)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise DataError(f"{path}: not an optimised method ({fault!r})") from None


def _step(body: dict[str, Any]) -> OptimizationStep:
    trials = tuple(Trial(**trial) for trial in body.pop("trials"))
    batch, found = tuple(body.pop("batch")), tuple(body.pop("found"))
    return OptimizationStep(batch=batch, found=found, trials=trials, **body)
