"""System calls that generated code does not get, by a seccomp filter. Loaded in the sandbox's process."""

from __future__ import annotations

import ctypes
import errno
import os

from .sandbox_system import prctl

_PR_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in seccomp_data
_CLONE_THREAD, _X32 = 0x10000, 0x40000000

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# name: (x86_64, aarch64); None where the machine has no such call
_Calls = dict[str, tuple[int | None, int | None]]
_NEVER: _Calls = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),  # memory that no limit of a process counts
    "msgget": (68, 186),
    "semget": (64, 190),
    "memfd_create": (319, 279),
}
_NOT_WITHOUT_NAMESPACES: _Calls = {
    "socket": (41, 198),
    "fork": (57, None),
    "vfork": (58, None),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "mq_open": (240, 180),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "chmod": (90, None),  # Landlock does not guard what is written about a file
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
_CLONE, _CLONE3, _KILL_CALL, _TGKILL, _PRLIMIT = (56, 220), (435, 435), (62, 129), (234, 131), (302, 261)


class _Step(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("true", ctypes.c_uint8),
        ("false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Step)))


_Steps = list[tuple[int, int, int, int]]


def known_machine() -> bool:
    """Whether the numbers of the calls are known here."""
    return os.uname().machine in _MACHINES


def deny_dangerous() -> None:
    """Refuse calls that no program of a benchmark needs, where this machine is known.

    Raises:
        OSError: If the system does not allow it.
    """
    if known_machine():
        _install(_deny(_NEVER))


def deny_all_but_own_process() -> None:
    """Refuse, besides, sockets, new processes, and signals and limits for other processes. Threads stay possible.

    Raises:
        OSError: If the system does not allow it, or the machine is not known.
    """
    if not known_machine():
        raise OSError(0, f"seccomp: the calls of {os.uname().machine} are not known")
    own = os.getpid()
    _install(
        _deny(_NEVER | _NOT_WITHOUT_NAMESPACES)
        + _refuse(_CLONE3, errno.ENOSYS)  # the C library then takes clone, whose flags can be seen
        + _only_if(_CLONE, _ANY_BIT, _CLONE_THREAD)
        + _only_if(_KILL_CALL, _EQUAL, own)
        + _only_if(_TGKILL, _EQUAL, own)
        + _only_if(_PRLIMIT, _EQUAL, 0)
    )


def _here(numbers: tuple[int | None, int | None]) -> int | None:
    return numbers[_MACHINES[os.uname().machine][1]]


def _deny(calls: _Calls) -> _Steps:
    return [step for numbers in calls.values() for step in _refuse(numbers, errno.EPERM)]


def _refuse(numbers: tuple[int | None, int | None], error: int) -> _Steps:
    number = _here(numbers)
    return [] if number is None else [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | error)]


def _only_if(numbers: tuple[int, int], test: int, value: int) -> _Steps:
    """Allow the call only with such a first argument."""
    return [
        (_EQUAL, 0, 4, _here(numbers) or 0),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (test, 0, 1, value),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
    ]


def _install(steps: _Steps) -> None:
    machine, _ = _MACHINES[os.uname().machine]
    head = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    other_way = [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERROR | errno.EPERM)]
    every = [*head, *other_way, *steps, (_RETURN, 0, 0, _ALLOW)]
    program = _Program(len(every), (_Step * len(every))(*(_Step(*step) for step in every)))
    prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(program))
