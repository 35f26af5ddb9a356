"""Processes that a test started, found by their folder or their arguments (Linux)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def working_in(folder: Path) -> list[int]:
    """All whose current folder this is; a test's own temporary folder."""
    return [process for process in _all() if _link(process) == str(folder.resolve())]


def called_with(argument: Path) -> list[int]:
    """All with this argument, a path in a test's own temporary folder."""
    return [process for process in _all() if os.fsencode(str(argument)) in _read(process, "cmdline").split(b"\0")]


def rank_of(process: int) -> str:
    names = dict(entry.partition(b"=")[::2] for entry in _read(process, "environ").split(b"\0"))
    return names.get(b"RANK", b"").decode()


def kill(processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _all() -> Iterator[int]:
    mine = os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        process = int(folder.name)
        if process != mine and _read(process, "cmdline"):  # a process that has ended has none
            yield process


def _read(process: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""


def _link(process: int) -> str:
    try:
        return os.readlink(f"/proc/{process}/cwd")
    except OSError:
        return ""
