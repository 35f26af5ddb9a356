"""What the sandbox asks of the kernel and Python's `os` does not offer everywhere. Loaded in the sandbox's process."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9
_FIRST_USER, _LAST_USER = 2_000, 2_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def check(result: int, step: str) -> int:
    """The result of a call of the C library.

    Raises:
        OSError: If it failed, with the step's name.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
    return result


def syscall(number: int, step: str, *values: object) -> int:
    """A system call by its number.

    Raises:
        OSError: If it failed, with the step's name.
    """
    whole = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    return check(_libc.syscall(ctypes.c_long(number), *whole), step)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Attach a file system, or a part of one, to a folder.

    Raises:
        OSError: If it fails.
    """
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    check(_libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def unshare(flags: int) -> None:
    """Leave namespaces of the parent for new ones.

    Raises:
        OSError: If it fails.
    """
    check(_libc.unshare(flags), "unshare")


def change_root(folder: str) -> None:
    """Make a mount point the root, and let go of the old one.

    Raises:
        OSError: If it fails.
    """
    os.chdir(folder)
    check(_libc.pivot_root(b".", b"."), "pivot_root")
    check(_libc.umount2(b".", 2), "umount2")
    os.chdir("/")


def prctl(option: int, value: int, address: int = 0) -> None:
    """Set a property of this process.

    Raises:
        OSError: If it fails.
    """
    rest = map(ctypes.c_ulong, (value, address, 0, 0))
    check(_libc.prctl(option, *rest), f"prctl {option}")


def die_with_parent() -> None:
    """Be killed when the parent ends."""
    prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """Processes whose parent this is."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def private_user(process: int) -> int | None:
    """A user id that nothing else has, where this process may change to one; by its number it differs from others'."""
    if os.geteuid() != 0:
        return None
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        ends = [int(first) + int(count) for first, _, count in map(str.split, lines)]
    end = min(max(ends, default=0), _LAST_USER)
    return end - 2 - process % 4096 if end > _FIRST_USER + 4096 else None


def give_up_rights(user: int | None) -> None:
    """Become that user, lose all capabilities, and never get any again.

    Raises:
        OSError: If it fails.
    """
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    forbid_new_rights()
    prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_rights() -> None:
    """Get no rights by running other programs. Landlock and seccomp want this.

    Raises:
        OSError: If it fails.
    """
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def limit(seconds: float, memory: int, file_size: int, processes: int) -> None:
    """Bound what this process and its children may use; see `sandbox.Limits`."""
    cpu = int(seconds) + 2  # the watcher's clock is the rule, this a second line
    for name, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, most = resource.getrlimit(name)
        bound = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(name, (bound, bound))


def open_to_all(path: str) -> bool:
    """Whether any user may enter the folders in which a file is."""
    while (path := os.path.dirname(path)) != "/":
        if not os.stat(path).st_mode & 1:
            return False
    return True
