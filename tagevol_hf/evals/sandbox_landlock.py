"""Isolation by Landlock and seccomp, which need no rights at all. Loaded in the sandbox's process."""

from __future__ import annotations

import ctypes
import os

from .sandbox_namespaces import readable
from .sandbox_system import syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the numbers are the same on every machine
_VERSION = 1  # flag of _CREATE
_OLDEST = 3  # Linux 6.2: before, files outside could be cut to nothing
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_ALL_OF_FIRST, _REFER, _DEVICE_CONTROL = 0x1FFF, 1 << 13, 1 << 15
_SOCKETS_AND_SIGNALS = 3
_BELOW = 1  # a rule for a path and what is below it
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Landlock's version here.

    Raises:
        OSError: If there is none, or it is too old.
    """
    found = syscall(_CREATE, "Landlock", None, 0, _VERSION)
    if found < _OLDEST:
        raise OSError(0, f"Landlock: version {found}, needs {_OLDEST} (Linux 6.2)")
    return found


def enclose(work: str) -> None:
    """From here on only the interpreter and its libraries can be read, and only the folder for work written.

    Raises:
        OSError: If the system does not allow it.
    """
    found = version()
    files = _ALL_OF_FIRST | _REFER | _TRUNCATE | (_DEVICE_CONTROL if found >= 5 else 0)
    rules = _Ruleset(files, 0, _SOCKETS_AND_SIGNALS if found >= 6 else 0)
    size = ctypes.sizeof(rules) if found >= 6 else 8
    ruleset = syscall(_CREATE, "Landlock", ctypes.byref(rules), size, 0)
    for path in readable():
        _allow(ruleset, path, _READ | _EXECUTE | (_LIST if os.path.isdir(path) else 0))
    for path in filter(os.path.exists, _DEVICES):
        _allow(ruleset, path, _READ | _WRITE)
    _allow(ruleset, work, files)
    syscall(_RESTRICT, "Landlock", ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    at = os.open(path, os.O_PATH)
    try:
        syscall(_ADD, f"Landlock {path}", ruleset, _BELOW, ctypes.byref(_Rule(access, at)), 0)
    finally:
        os.close(at)
