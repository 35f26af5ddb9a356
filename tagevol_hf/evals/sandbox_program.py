"""A program's run: its report names what went wrong, or ends with the token that only a run to the end gives."""

from __future__ import annotations

import os
import sys
from types import ModuleType

_NAME = "program"  # not "__main__": what stands under `if __name__ == "__main__"` is no part of an answer
_SHOWN = 400  # characters of a message


def run(program: str, report: int, token: int) -> None:
    """Run the program to its end; does not return.

    Whatever the program does to modules, it does to others: all that is needed here is taken before it runs. Only the
    process that is started here reports; a fork of it says nothing, whichever of them ends first.

    Args:
        program: Code and its tests.
        report: Descriptor to which a verdict and a message are written, or the token.
        token: Descriptor from which the token is read, once the tests are through.
    """
    read, write, leave, process = os.read, os.write, os._exit, os.getpid
    failure, started = _failure, os.getpid()
    module = ModuleType(_NAME)
    sys.modules[_NAME] = module
    try:
        exec(compile(program, _NAME, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - it is in a sandbox
    except BaseException as error:
        if process() == started:
            write(report, failure(error, program))
        leave(1)
    _flush()
    if process() != started:
        leave(0)  # a copy that the program made of itself: its end is not the program's
    write(report, read(token, 64))
    leave(0)


def _failure(
    error: BaseException,
    program: str,
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (AssertionError, "failed"),
        (MemoryError, "out of memory"),
        (SystemExit, "exited early"),
    ),
) -> bytes:
    verdict = next((verdict for kind, verdict in kinds if isinstance(error, kind)), "error")
    return f"{verdict}\n{_message(error, program)}".encode("utf-8", "replace")


def _message(error: BaseException, program: str) -> str:
    try:
        name = type(error).__name__
        return f"{name}: {error}"[:_SHOWN] + _place(error, program)
    except BaseException:
        return "an error that cannot be shown"


def _place(error: BaseException, program: str) -> str:
    """The last line of the program's own top level that was reached."""
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = program.splitlines()
    if line is None or line > len(lines):
        return ""
    return f" (line {line}: {lines[line - 1].strip()[:160]})"


def _flush() -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        return  # the program closed or replaced them
