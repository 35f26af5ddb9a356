"""One start of vLLM's server: waiting for it, the client that asks it, and a thread that looks after both."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from ..errors import EngineError
from .child_server import ChildServer, health
from .server import ServerEngine
from .vllm_serve_command import known_names
from .vllm_serve_fault import ended_at_start, how_it_ended, what_to_do, with_lines

_LOOK_SECONDS = 5.0  # between two looks at a running server's health, and for its answer
_CLOSED_SECONDS = 15.0  # that a server may live after it stopped to listen; vLLM's can wait for ever for its requests
_FIRST_WORD_SECONDS, _NEXT_WORD_SECONDS = 3.0, 60.0  # what is told on stderr while it starts
_HEALTH_SECONDS = 2.0  # that a starting server has to answer
_OTHER_FILES = 512  # than connections that this process may have open
_LAST_REPLIES_SECONDS = 0.05  # for replies that came before a server ended and are on their way to the caller


class RunningServer:
    """A server that answers until it ends, hangs or is ended.

    Args:
        child: The process, healthy.
        port: Where it listens on the loopback.
        asking: The client; closed when the server is gone, so that nobody waits for it.
        end: Ends the child.
        hung_seconds: After how long without an answer to `/health` it is killed.
    """

    def __init__(
        self, child: ChildServer, port: int, asking: ServerEngine, end: Callable[[], object], hung_seconds: float
    ) -> None:
        self.child, self.asking = child, asking
        self._end = end
        self._port, self._hung_seconds = port, hung_seconds
        self._why_killed = ""
        threading.Thread(target=self._look_after, name="tagevol-health", daemon=True).start()

    @property
    def served(self) -> int:
        """Requests that it answered."""
        return sum(self.asking.served.values())

    def fault(self, engine: str) -> EngineError:
        """Why it ended, with its last lines."""
        lines = self.child.last_lines()
        way = self._why_killed or what_to_do(self.child, lines)
        told = f"{engine}: vLLM's server ended ({how_it_ended(self.child)}); {way}"
        return EngineError(with_lines(told, self.child, lines))

    def close(self) -> None:
        """End the client and the server. Safe to call twice."""
        self.asking.close()
        self._end()

    def _look_after(self) -> None:
        pause, good_at = min(_LOOK_SECONDS, self._hung_seconds / 4), time.monotonic()
        while not self.child.ended.wait(pause):
            found = health(self._port, pause)
            ill_for = 0.0 if found == "good" else time.monotonic() - good_at
            if not ill_for:
                good_at = time.monotonic()
            elif ill_for > (min(_CLOSED_SECONDS, self._hung_seconds) if found == "closed" else self._hung_seconds):
                self._why_killed = f"it was killed after {ill_for:.0f} s without an answer to /health"
                self.child.kill()
        time.sleep(_LAST_REPLIES_SECONDS)
        self.asking.close()


def wait_until_healthy(engine: str, child: ChildServer, port: int, seconds: float) -> None:
    """Wait for a server that starts, and say on stderr that it does.

    Args:
        engine: The engine's name.
        child: The server.
        port: Where it will listen on the loopback.
        seconds: How long it may take.

    Raises:
        EngineError: If it ends before, or takes longer.
    """
    start = time.monotonic()
    next_word = start + _FIRST_WORD_SECONDS
    while not child.ended.wait(0.1):
        if health(port, min(_HEALTH_SECONDS, seconds)) == "good":
            return
        now = time.monotonic()
        if now >= next_word:
            _say(engine, now - start)
            next_word = now + _NEXT_WORD_SECONDS
        if now - start > seconds:
            raise _too_slow(engine, child, seconds)
    raise ended_at_start(engine, child, known_names())


def _too_slow(engine: str, child: ChildServer, seconds: float) -> EngineError:
    told = (
        f"{engine}: vLLM's server was not ready after {seconds:g} s and was ended; where loading takes longer, raise "
        "startup_timeout"
    )
    return EngineError(with_lines(told, child, child.last_lines()))


def allow_connections(count: int) -> None:
    """Raise this process's limit of open files, as far as the system lets it, so that all connections have room."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if now != resource.RLIM_INFINITY and now < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


def _say(engine: str, seconds: float) -> None:
    model = engine.partition(":")[2]
    sys.stderr.write(f"starting vLLM's server for {model} … ({timedelta(seconds=round(seconds))})\n")
    sys.stderr.flush()
