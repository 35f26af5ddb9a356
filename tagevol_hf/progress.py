"""What goes on, for whatever lasts: a bar on a terminal, elsewhere a line a minute. Both go to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

Advance = Callable[..., None]
_BAR_SECONDS = 0.2  # between two looks of the bar
_LINE_SECONDS = 60.0  # between two lines where there is no terminal


@contextmanager
def progress(label: str, total: int | None, facts: Callable[[], str] | None = None) -> Iterator[Advance]:
    """Show what goes on while the block runs; call the yielded function for what was done, by default one thing.

    Args:
        label: What is being done, a few words.
        total: How many things there are; None where that is not known.
        facts: Gives further figures in one line, such as requests a second.
    """
    if not sys.stderr.isatty():
        yield _Lines(label, total, facts).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=30)]
    columns += [TimeElapsedColumn()] if total is None else [MofNCompleteColumn(), Remaining()]
    columns += [TextColumn("{task.fields[facts]}")]
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        yield _Bar(bar, bar.add_task(label, total=total, facts=""), facts).advance


def announce(text: str) -> None:
    """Say one thing before it begins."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class _Bar:
    """Counts, and looks at the bar only now and then: a look costs more than a row."""

    def __init__(self, bar: Any, task: Any, facts: Callable[[], str] | None) -> None:
        self._bar, self._task, self._facts = bar, task, facts or str
        self._done, self._next = 0, 0.0

    def advance(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _BAR_SECONDS
            self._bar.update(self._task, completed=self._done, facts=self._facts())


class _Lines:
    """Counts, and says how far it is once a minute, with the time left at this rate."""

    def __init__(self, label: str, total: int | None, facts: Callable[[], str] | None) -> None:
        self._label, self._total, self._facts = label, total, facts
        self._done, self._start = 0, time.monotonic()
        self._next = self._start + _LINE_SECONDS

    def advance(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_SECONDS
        parts = [f"{self._label}: {self._done:,}" + (f" of {self._total:,}" if self._total else "")]
        if self._total:
            left = (self._total - self._done) * (now - self._start) / self._done
            parts.append(f"{timedelta(seconds=round(left))} left")
        parts += [self._facts()] if self._facts else []
        sys.stderr.write(", ".join(parts) + "\n")
        sys.stderr.flush()
