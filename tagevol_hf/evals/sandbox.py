"""Generated code, run so that it can do no harm: without network, without the user's files, under limits, to its end.

A program is one interpreter of its own. It passes only if it runs to the end of its tests: a token is then handed to
it, which it must give back, and its exit status must be 0. Program and tests share an interpreter, as the benchmarks
have it, so an answer that was written against this very sandbox could find the token; no output, no exit, no changed
built-in of an answer that does not know the sandbox passes for success.

What isolates it, the first that the system allows:

- "namespaces" (Linux 5.12): processes, network, shared memory and files of its own. It sees the interpreter and its
  libraries, which it cannot change, and an empty folder in memory. Root gives it a user id that nothing else has; an
  ordinary user needs user namespaces.
- "landlock" (Linux 6.2, x86-64 or ARM64; needs no rights, so it works in most containers): Landlock for files, and a
  seccomp filter that refuses sockets, new processes, and signals to others.
- "limits": memory, time, sizes and a process group, and nothing else. It is never taken unless
  `TAGEVOL_SANDBOX=limits` says so, which is for machines that are thrown away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from ..errors import EngineError, RecipeError
from .sandbox_process import Ended, Limits, run_once

__all__ = ["Isolation", "Limits", "Outcome", "isolation", "run", "run_all"]

CHOICE = "TAGEVOL_SANDBOX"  # environment variable: the modes that may be used, by commas
_SAFE = ("namespaces", "landlock")
_PROBE = Limits(seconds=20)
_HOLDS: Mapping[str, Mapping[str, str]] = {
    "namespaces": {
        "network": "its own network namespace, without a device",
        "files": "a root of its own, to be read; one folder in memory to be written",
        "processes": "its own process namespace, killed as a whole",
        "signals": "its own process namespace",
        "disk": "a folder of bounded size",
    },
    "landlock": {
        "network": "seccomp: no sockets",
        "files": "Landlock: one folder to be written, only the interpreter to be read",
        "processes": "seccomp: no processes beside its own",
        "signals": "seccomp: none to others",
    },
    "limits": {},
}
_TIME = ("timed out", "signal 24")  # Linux' SIGXCPU
_SAID = ("failed", "error", "out of memory", "exited early")
_ALL = ("network", "files", "processes", "signals", "disk")
_NEEDED = ("network", "files", "processes", "signals")


@dataclass(frozen=True, slots=True)
class Isolation:
    """What keeps a program apart on this system.

    Attributes:
        mode: "namespaces", "landlock", "limits", or "none" where no program can be run.
        holds: What it is kept from, and by what.
        missing: What it is not kept from: of "network", "files", "processes", "signals" and "disk".
        refused: Mode → why the system does not allow it.
    """

    mode: str
    holds: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    missing: tuple[str, ...] = _ALL
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program.

    Attributes:
        verdict: "passed", "failed" (an assertion), "error" (another exception, or a signal), "exited early",
            "timed out", "out of memory" or "too much output".
        detail: For a person: the error and its line.
        seconds: From start to end.
        output: The end of what it printed.
    """

    verdict: str
    detail: str
    seconds: float
    output: str


def isolation() -> Isolation:
    """What isolates programs here: tried out once in this process, by running one.

    `TAGEVOL_SANDBOX`, as in "landlock" or "namespaces,landlock", restricts what is tried.

    Raises:
        RecipeError: If that names no mode.
    """
    return _probe(_choice())


def run_all(programs: Sequence[str | None], limits: Limits, workers: int = 1) -> list[Outcome | None]:
    """Run programs, some at once.

    Args:
        programs: Code with its tests; None stays None.
        limits: Of each.
        workers: Programs at once, at least 1.

    Raises:
        RecipeError: If this system cannot keep a program from the network or from the user's files.
        EngineError: If the sandbox itself fails.
    """
    mode = _required().mode
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        jobs = [None if program is None else pool.submit(_run, program, limits, mode) for program in programs]
        try:
            return [None if job is None else job.result() for job in jobs]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run(program: str, limits: Limits | None = None) -> Outcome:
    """Run one program; as `run_all`."""
    return _run(program, limits or Limits(), _required().mode)


def _required() -> Isolation:
    found = isolation()
    lacking = [name for name in _NEEDED if name in found.missing]
    if found.mode == "none" or (lacking and found.mode != "limits"):
        reasons = "; ".join(f"{mode}: {reason}" for mode, reason in found.refused.items()) or "none may be used"
        raise RecipeError(
            f"sandbox: this system cannot keep generated code from {', '.join(lacking)} ({reasons}); allow user "
            f"namespaces or Landlock, run it elsewhere, or on a machine that is thrown away set {CHOICE}=limits"
        )
    return found


def _choice() -> tuple[str, ...]:
    text = os.environ.get(CHOICE, "").strip()
    names = tuple(name.strip() for name in text.split(",")) if text else _SAFE
    unknown = [name for name in names if name not in _HOLDS]
    if unknown:
        raise RecipeError(f"{CHOICE}: {unknown[0]!r} is no mode; expected of {', '.join(_HOLDS)}, by commas")
    return names


@lru_cache
def _probe(names: tuple[str, ...]) -> Isolation:
    refused: dict[str, str] = {}
    for name in names:
        if not sys.platform.startswith("linux"):
            refused[name] = "needs Linux"
            continue
        ended = run_once("pass", _PROBE, name)
        if ended.how == "exit 0" and ended.token_given:
            missing = tuple(kept for kept in _ALL if kept not in _HOLDS[name])
            return Isolation(name, _HOLDS[name], missing, MappingProxyType(refused))
        refused[name] = ended.problem
    return Isolation("none", refused=MappingProxyType(refused))


def _run(program: str, limits: Limits, mode: str) -> Outcome:
    ended = run_once(program, limits, mode)
    if ended.how.startswith("setup"):
        raise EngineError(f"sandbox: {ended.problem}; it held before: start the same command again")
    verdict = _verdict(ended, limits)
    detail = "" if verdict == "passed" else ended.report[1] or ended.how or "its watcher was killed"
    return Outcome(verdict, detail, ended.seconds, ended.output)


def _verdict(ended: Ended, limits: Limits) -> str:
    if ended.too_much:
        return "too much output"
    if ended.how in _TIME or (not ended.how and ended.seconds >= limits.seconds):
        return "timed out"
    if ended.how == "exit 0" and ended.token_given:
        return "passed"
    if ended.report[0] in _SAID:
        return ended.report[0]
    return "exited early" if ended.how.startswith("exit") else "error"
