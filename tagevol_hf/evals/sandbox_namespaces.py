"""Isolation by namespaces: processes, network, files and shared memory of its own. Loaded in the sandbox's process."""

from __future__ import annotations

import ctypes
import os
import sys

from .sandbox_system import change_root, mount, syscall, unshare

_NEW_MOUNT, _NEW_UTS, _NEW_IPC = 0x20000, 0x4000000, 0x8000000
_NEW_USER, _NEW_PID, _NEW_NET = 0x10000000, 0x20000000, 0x40000000
_ALL = _NEW_MOUNT | _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET
_NO_SET_ID, _NO_DEVICES, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 0x1000, 0x4000, 0x40000
_SET_ATTRIBUTES, _AT_RECURSIVE = 442, 0x8000  # mount_setattr(2), since Linux 5.12; the number is the same everywhere
_READ_ONLY, _NO_SET_ID_ATTRIBUTE = 1, 2
_ROOT = "/proc"  # a folder that is always there; hidden by the new root, and by nothing of it needed
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/nix/store", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
WORK = "/box"  # of the new root


def readable() -> list[str]:
    """What a Python program reads: the system's libraries and the interpreter; nothing of the user's."""
    own = [sys.base_prefix, sys.base_exec_prefix, *sys.path]
    paths = dict.fromkeys(path for path in (*_SYSTEM, *own) if os.path.exists(path))
    return [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]


def separate() -> str:
    """Leave the namespaces of the parent; the next child is the first process of its own.

    An ordinary user gets a user namespace, too, which gives the rights to do so.

    Returns:
        "user" where a user namespace was needed, "system" where this process had the rights.

    Raises:
        OSError: If the system does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(_ALL)
        return "system"
    except OSError:
        unshare(_ALL | _NEW_USER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
        return "user"


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def enter(disk: int, user: int | None) -> None:
    """Make a root in which only the interpreter and its libraries are, to be read, and an empty folder for work.

    Args:
        disk: Size of that folder in bytes. It is in memory and goes with the last process.
        user: Whose folder it is; None for the present user.

    Raises:
        OSError: If the system does not allow it.
    """
    mount("none", "/", None, _RECURSIVE | _PRIVATE)
    paths = readable()
    mount("tmpfs", _ROOT, "tmpfs", _NO_SET_ID | _NO_DEVICES, "size=1m,mode=755")
    for path in paths:
        _show(path)
    for path in filter(os.path.exists, _DEVICES):
        _bind(path)
    work = _ROOT + WORK
    os.mkdir(work)
    _read_only(_ROOT)
    mount("tmpfs", work, "tmpfs", _NO_SET_ID | _NO_DEVICES, f"size={disk},nr_inodes=4096,mode=700")
    if user is not None:
        os.chown(work, user, user)
    change_root(_ROOT)
    os.chdir(WORK)


def _show(path: str) -> None:
    if os.path.islink(path) and path in _SYSTEM:
        os.makedirs(os.path.dirname(_ROOT + path), exist_ok=True)
        os.symlink(os.path.realpath(path), _ROOT + path)
    else:
        _bind(path)


def _bind(path: str) -> None:
    target = _ROOT + path
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb"):
            pass
    mount(path, target, None, _BIND | _RECURSIVE)


def _read_only(folder: str) -> None:
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY | _NO_SET_ID_ATTRIBUTE, 0, 0, 0)
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        syscall(_SET_ATTRIBUTES, "mount_setattr", at, b".", _AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    finally:
        os.close(at)
