"""Ends attempts that take too long, by one timer for all of them: a timer each costs a tenth of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOOKS = 20  # in the time of one attempt
_MOST_SECONDS = 0.5  # between two looks


class Deadlines:
    """Cancels attempts that last longer than the time limit. Lives inside one asyncio loop.

    Args:
        seconds: The time limit of every attempt; it is kept to within a twentieth, at most half a second.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pause = min(_MOST_SECONDS, seconds / _LOOKS)
        self._running: dict[int, tuple[float, asyncio.Task[Any]]] = {}  # the oldest first
        self._late: set[int] = set()
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def limit(self) -> Iterator[None]:
        """One attempt.

        Raises:
            asyncio.TimeoutError: In place of the cancellation, when the attempt took too long.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit holds for a task only")
        self._number = number = self._number + 1
        self._running[number] = loop.time() + self._seconds, task
        if self._timer is None:
            self._timer = loop.call_later(self._pause, self._look)
        try:
            yield
        except asyncio.CancelledError:
            if number not in self._late or _still_cancelled(task):
                raise
            raise asyncio.TimeoutError from None
        finally:
            self._running.pop(number, None)
            self._late.discard(number)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for number, (until, task) in tuple(self._running.items()):
            if until > loop.time():
                break
            del self._running[number]
            self._late.add(number)
            task.cancel()
        self._timer = loop.call_later(self._pause, self._look) if self._running else None


def _still_cancelled(task: asyncio.Task[Any]) -> bool:
    """Take our own cancellation back; whether somebody else wants the task to end as well (Python >= 3.11 knows)."""
    uncancel = getattr(task, "uncancel", None)
    return uncancel is not None and uncancel() > 0
