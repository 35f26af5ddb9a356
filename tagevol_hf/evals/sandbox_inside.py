"""Inside a sandbox's process: isolate, watch, run the program. Nothing of the package around it is loaded here.

python sandbox_child.py          reads its job from stdin, and is told by the end of stdin to stop at once
└── the watcher                  first process of the new namespace, where there is one: all others end with it
    └── the program              without rights, under limits; an interpreter that has run nothing else
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from . import sandbox_landlock, sandbox_namespaces, sandbox_program, sandbox_seccomp, sandbox_system

Job = dict[str, object]


def main() -> None:
    """Run the job that stands on stdin, say what became of it, and leave no process."""
    job = _job()
    status = int(str(job["status"]))
    os.set_inheritable(status, False)
    try:
        if job["mode"] == "namespaces":
            _in_namespaces(job, status)
        else:
            _say(status, _watch(job, status))
    except OSError as error:
        _say(status, f"setup {error.strerror or error}\n")
    os._exit(0)


def _job() -> Job:
    size = int.from_bytes(_read(8), "big")
    job: Job = marshal.loads(_read(size))  # noqa: S302 — written by the process that started this one
    return job


def _read(size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.read(0, size)
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _say(status: int, text: str) -> None:
    os.write(status, text.encode("utf-8", "replace")[:500])


def _in_namespaces(job: Job, status: int) -> None:
    user = sandbox_system.private_user(os.getpid())
    if sandbox_namespaces.separate() == "user":
        user = None
    watcher = os.fork()
    if watcher == 0:
        try:
            sandbox_system.die_with_parent()
            sandbox_namespaces.enter(int(str(job["disk"])), user)
            _say(status, _watch({**job, "user": user, "folder": sandbox_namespaces.WORK}, status))
        except OSError as error:
            _say(status, f"setup {error.strerror or error}\n")
        os._exit(0)
    os.waitpid(watcher, 0)


def _watch(job: Job, status: int) -> str:
    """Run the program to its end, its time limit, or the end of stdin, whichever is first."""
    deadline = time.monotonic() + float(str(job["seconds"]))
    if job["mode"] != "namespaces":
        sandbox_system.adopt_orphans()
    program = os.fork()
    if program == 0:
        _become_program(job, status)
    os.close(int(str(job["report"])))
    os.close(int(str(job["token"])))
    ended = _wait(program, deadline)
    stopped = "stopped" if time.monotonic() < deadline else "timed out"
    if job["mode"] != "namespaces":
        _kill_all(program)
    if ended is None:
        _tidy(job)
        return stopped
    return f"signal {os.WTERMSIG(ended)}" if os.WIFSIGNALED(ended) else f"exit {os.WEXITSTATUS(ended)}"


def _wait(program: int, deadline: float) -> int | None:
    """The status with which the program ended; None if it did not."""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    step = 0.005
    try:
        poll.register(os.pidfd_open(program), select.POLLIN)
        step = 3600.0
    except OSError:
        pass  # an old kernel: look every few milliseconds
    while True:
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            return status
        left = deadline - time.monotonic()
        if left <= 0 or any(descriptor == 0 for descriptor, _ in poll.poll(1000 * max(0.001, min(left, step)))):
            return None


def _tidy(job: Job) -> None:
    """Whoever started this may be gone, and with it the one who removes the folder; a namespace's own goes anyway."""
    if job["mode"] != "namespaces":
        from shutil import rmtree  # loaded late: it costs as much as the interpreter

        rmtree(str(job["folder"]), ignore_errors=True)


def _kill_all(program: int) -> None:
    """Kill the program, its group, and every descendant that can be found; a namespace kills its own."""
    until = time.monotonic() + 1
    _kill(os.killpg, program)
    while time.monotonic() < until and (found := sandbox_system.children()):
        for child in found:
            _kill(os.kill, child)
            os.waitpid(child, 0)


def _kill(kill: Callable[[int, int], None], number: int) -> None:
    try:
        kill(number, signal.SIGKILL)
    except OSError:
        return  # it is gone


def _become_program(job: Job, status: int) -> None:
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        _isolate(job)
    except OSError as error:
        _say(status, f"setup {error.strerror or error}\n")
        os._exit(1)
    os.close(status)
    _forget()
    sandbox_program.run(str(job["program"]), int(str(job["report"])), int(str(job["token"])))


def _isolate(job: Job) -> None:
    mode, folder, user = job["mode"], str(job["folder"]), job["user"]
    if mode != "namespaces":
        user = _own_folder(folder)
        sandbox_system.forbid_new_rights()
    if mode == "landlock":
        sandbox_landlock.enclose(folder)
    os.chdir(folder)
    limits = [int(str(job[name])) for name in ("memory", "file_size", "processes")]
    sandbox_system.limit(float(str(job["seconds"])), *limits)
    sandbox_system.give_up_rights(None if user is None else int(str(user)))
    if mode != "limits":
        sandbox_seccomp.deny_dangerous() if mode == "namespaces" else sandbox_seccomp.deny_all_but_own_process()


def _own_folder(folder: str) -> int | None:
    """Give the folder to a user that nothing else has, where there can be one and it can read the interpreter."""
    user = sandbox_system.private_user(os.getpid())
    if user is None or not sandbox_system.open_to_all(os.path.realpath(os.__file__)):
        return None
    os.chown(folder, user, user)
    return user


def _forget() -> None:
    """Leave the program an interpreter in which nothing of ours stands in sight."""
    sys.argv = [""]
    for name in [name for name in sys.modules if name.startswith("tagevol_sandbox")]:
        del sys.modules[name]
