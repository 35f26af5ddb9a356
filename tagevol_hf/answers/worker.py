"""A process that says whether two final answers are equal, and that may be killed where an expression has no end.

It reads pairs of answers from standard input, one JSON list a line, and writes "true" or "false" for each. Computer
algebra can take any time and memory: each pair has a limit of both, and who exceeds it takes this process down.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import signal
import sys
from collections.abc import Iterator
from typing import Any

_MEMORY = 4 * 2**30  # bytes of address space


def main(seconds: int) -> None:
    """Answer until the input ends; a pair that takes more than `seconds` of the processor's time ends the process."""
    logging.disable(logging.CRITICAL)
    _limit_memory()
    are_equal("x", "y")  # loads what is needed, which is not the first pair's fault
    for line in sys.stdin:
        first, second = json.loads(line)
        with _limited(seconds):
            same = are_equal(first, second)
        sys.stdout.write(f"{json.dumps(same)}\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """The system ends this process after so much processor time: how busy the machine is has no say in an answer."""
    if not hasattr(signal, "setitimer"):  # Windows: there only the starter ends what takes too long
        yield
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # a handler of Python's would wait for the end of a long product
    signal.setitimer(signal.ITIMER_PROF, seconds)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)


def are_equal(first: str, second: str) -> bool:
    """Whether math_verify takes them for the same; it is asked in both directions, as it is not symmetric."""
    from math_verify import verify

    try:
        one, other = _parsed(first), _parsed(second)
        pairs = ((one, other), (other, one))
        return bool(one and other) and any(verify(*pair, timeout_seconds=None) for pair in pairs)
    except (Exception, RecursionError):  # sympy raises whatever it likes; then the texts stay two answers
        return False


@functools.lru_cache(maxsize=4096)
def _parsed(answer: str) -> Any:
    from math_verify import parse

    return parse(answer if "$" in answer else f"${answer}$", parsing_timeout=None)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
