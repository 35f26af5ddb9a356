"""A server process that never outlives this one, however this one ends."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

Health = Literal["good", "closed", "ill"]
_GUARD = Path(__file__).with_name("child_guard.py")
_GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
_PATIENCE_SECONDS = _GRACE_SECONDS + 10.0  # for the guard; then it is killed, too
_TAIL_BYTES = 256 * 1024
_LINE_CHARACTERS = 300
# What stands before a message: vLLM's process, its time and place; colours.
_PREFIX = re.compile(
    r"^(\([^()]* ?pid=\d+\) ?)*((DEBUG|INFO|WARNING|ERROR|CRITICAL)\b:? [-\d]+ [\d:.,]+ \[[^\]]*\] ?)?"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# A traceback's frames and the words around them; Python's warnings.
_NOISE = re.compile(
    r' +File "|    |\t|Traceback \(most recent call last|During handling of|The above exception was'
    r"|\S+:\d+: \w*Warning: |  warnings\.warn"
)


class ChildServer:
    """A server and its guard, a small process that ends it with all its children when this process is gone.

    Both have sessions of their own, so that a Ctrl-C on the terminal does not reach them; `end` does. A copy of this
    object in a forked process ends nothing.

    Args:
        command: Program and arguments.
        environment: Its environment variables.

    Attributes:
        pid: The server's process number, which is also its group's; 0 if it could not be started.
        ended: Set when the server and its children are gone.
        status: Then its exit status; below 0 the number of the signal that killed it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._owner = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="tagevol-server-"))
        self._log = self._folder / "server.log"
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(self._owner), str(_GRACE_SECONDS)]
        with self._log.open("wb") as output:
            self._guard = subprocess.Popen(  # noqa: S603 - a list of our own making
                [*guard, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
            )
        self.ended = threading.Event()
        self.status: int | None = None
        self.pid = int(self._line() or 0)
        threading.Thread(target=self._watch, name="tagevol-child", daemon=True).start()

    @property
    def of_this_process(self) -> bool:
        """False in a forked copy of the process that started it."""
        return os.getpid() == self._owner

    def end(self) -> None:
        """End the server and all its children; waits until they are gone, at most about 30 s. Safe to call twice."""
        if not self.of_this_process:
            return
        self._tell_guard()
        if not self.ended.wait(_PATIENCE_SECONDS):
            self.kill()
            self._guard.kill()
            self.ended.wait(_PATIENCE_SECONDS - _GRACE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill the server's processes at once; the guard then sees to the rest."""
        if self.of_this_process and self.pid and not self.ended.is_set():
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def last_lines(self, count: int = 20) -> list[str]:
        """The last lines that the server wrote and that tell something: no blank ones, no frames of a traceback."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return list(dict.fromkeys(_telling(text)))[-count:]

    def keep_log(self) -> Path:
        """Move the server's whole output to a file that stays."""
        handle, name = tempfile.mkstemp(prefix="tagevol-server-", suffix=".log")
        os.close(handle)
        shutil.copyfile(self._log, name)
        return Path(name)

    def _tell_guard(self) -> None:
        order = self._guard.stdin
        if order is None or order.closed:
            return
        try:
            order.write(b"\n")  # a forked process may hold the pipe open as well
            order.close()
        except OSError:
            return  # the guard is gone

    def _watch(self) -> None:
        told = self._line()
        self._guard.wait()
        if not told:
            self.kill()
        self.status = int(told or self._guard.returncode)
        self.ended.set()

    def _line(self) -> str:
        source = self._guard.stdout
        text = b"" if source is None else source.readline()
        return text.decode().strip()


def _telling(text: str) -> Iterator[str]:
    for raw in re.split(r"[\r\n]+", _COLOURS.sub("", text)):
        line = _PREFIX.sub("", raw)
        if line.strip() and not _NOISE.match(line):
            yield "".join(character for character in line.strip() if character.isprintable())[:_LINE_CHARACTERS]


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def port_fault(port: int) -> str:
    """Why a server cannot listen at a port of the loopback; empty if it can."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError as fault:
            return "it is in use" if fault.errno == errno.EADDRINUSE else str(fault.strerror)
    return ""


def health(port: int, seconds: float) -> Health:
    """What `GET /health` at a port of the loopback gives within a time.

    Returns:
        "good" for 200, "closed" where nobody listens, "ill" for all else, no answer included.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", "/health")
        return "good" if connection.getresponse().status == 200 else "ill"
    except ConnectionRefusedError:
        return "closed"
    except (OSError, http.client.HTTPException):
        return "ill"
    finally:
        connection.close()
