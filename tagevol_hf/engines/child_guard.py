"""Runs a command, and ends it with all its children when it is told to or when its starter is gone.

A program of its own, `python child_guard.py STARTER GRACE COMMAND…`, that needs nothing but Python:

- STARTER is the number of the process to watch; GRACE is how many seconds the command has between SIGTERM and SIGKILL.
- Whatever comes on standard input, its end too, means: end the command.
- Standard output gets two lines: the command's process number, and at the end its exit status (below 0: a signal's).
- The command has no input, a session of its own, and the guard's standard error for all that it says.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.1
_KILL_SECONDS = 5.0  # in which killed processes must be gone
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_orders: list[int] = []  # signals that came


def main() -> None:
    """Run the command until it ends or must end."""
    starter, grace, *command = sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: _orders.append(number))
    child = _started(command)
    _say(child.pid)
    while child.poll() is None and os.getppid() == int(starter) and not _told_to_end():
        pass
    if child.poll() is None:
        _ask_to_end(child, float(grace))
    _kill_all(child)
    _say(-signal.SIGKILL if child.returncode is None else child.returncode)


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # a grandchild whose parent is gone becomes our child
    return subprocess.Popen(  # noqa: S603 - the starter made the command
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
        preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),  # if this guard itself is killed
    )


def _prctl() -> Any:
    """Linux's `prctl`; elsewhere a function that does nothing."""
    return getattr(ctypes.CDLL(None), "prctl", lambda *_: 0) if sys.platform == "linux" else lambda *_: 0


def _told_to_end() -> bool:
    """Wait for a moment; whether an order came."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], _LOOK_SECONDS)
    return bool(readable or _orders)


def _ask_to_end(child: subprocess.Popen[bytes], grace: float) -> None:
    _signal_group(child, signal.SIGTERM)
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        return


def _kill_all(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the command, those too that left its group, and wait until they are gone."""
    _signal_group(child, signal.SIGKILL)
    end = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < end:
        try:
            number, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if number == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
        elif number == 0:
            for other in _children():
                _signal(other, signal.SIGKILL)
            time.sleep(0.02)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
        return


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _children() -> Iterator[int]:
    """Numbers of this process's children, where there is /proc."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if int(parent) == os.getpid():
            yield int(file.parent.name)


def _say(number: int) -> None:
    try:
        os.write(sys.stdout.fileno(), f"{number}\n".encode())
    except OSError:  # the starter is gone
        return


if __name__ == "__main__":
    main()
