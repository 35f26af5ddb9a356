"""An asyncio loop in a thread of its own, so that a caller with or without a running loop can wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class BackgroundLoop:
    """One daemon thread that runs one asyncio loop until `close`.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = _new_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name=name, daemon=True)
        self._closed = False
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def soon(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have a function called in the loop; does not wait. False after `close`, when nothing is called."""
        if self._closed:
            return False
        self._loop.call_soon_threadsafe(function, *arguments)
        return True

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what runs, run a last coroutine, end the loop and its thread. Safe to call twice."""
        if self._closed or not self._thread.is_alive():
            return
        self._closed = True
        if threading.current_thread() is self._thread:  # called by the garbage collector
            self._loop.stop()
            return
        asyncio.run_coroutine_threadsafe(_finish(last), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where it is installed: it takes a fifth off the time of a request."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


async def _finish(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last()
