"""Why vLLM's server ended, in words: from its exit status and its last lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import EngineError
from .child_server import ChildServer
from .hints import vllm_hint
from .spec import unknown_option

_KILLED = "it was killed: by somebody, or by the system for lack of memory"
_UNKNOWN = re.compile(r"unrecognized arguments: (.*)")
_USAGE_ERROR = 2  # argparse's exit status


def how_it_ended(child: ChildServer) -> str:
    """The exit status, or the signal, in a few words."""
    status = child.status
    return f"killed by signal {-status}" if status is not None and status < 0 else f"exit status {status}"


def ended_at_start(engine: str, child: ChildServer, known: Iterable[str]) -> EngineError:
    """The error of a server that ended before it was ready.

    Args:
        engine: The engine's name.
        child: The server.
        known: Names of options, to find the one that was meant.
    """
    lines = child.last_lines()
    unknown = _UNKNOWN.search("\n".join(lines))
    if child.status == _USAGE_ERROR and unknown:
        return unknown_option(engine, _option_name(unknown[1].split()[0]), known)
    told = f"{engine}: vLLM's server ended while it was starting ({how_it_ended(child)}); {what_to_do(child, lines)}"
    return EngineError(with_lines(told, child, lines))


def what_to_do(child: ChildServer, lines: Sequence[str]) -> str:
    """The way on that the last lines suggest."""
    text = "\n".join(lines)
    found = vllm_hint(text)
    if not found and child.status is not None and child.status < 0:
        return _KILLED
    return found or "what it said last tells why"


def with_lines(told: str, child: ChildServer, lines: Sequence[str]) -> str:
    """A message with the last lines below it, and where all of them are kept."""
    if not lines:
        return f"{told}; it said nothing"
    return "\n    ".join([f"{told}; its last lines (all are in {child.keep_log()}):", *lines])


def _option_name(argument: str) -> str:
    name = argument.lstrip("-").partition("=")[0].replace("-", "_")
    return name.removeprefix("no_")
