"""One sandbox from outside: start its process, read what it says up to a bound, and leave nothing of it."""

from __future__ import annotations

import marshal
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

_CHILD = Path(__file__).with_name("sandbox_child.py")
_GRACE = 5.0  # seconds beyond the time limit, after which the watcher itself is killed
_PIECE = 65_536
_REPORT = 4_096  # bytes
_OUTPUT_SHOWN = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: From start to end.
        memory: Address space of each of its processes, in bytes.
        processes: Processes and threads at once.
        file_size: Of each file, in bytes.
        disk: Of all files, in bytes.
        output: Bytes that it may print.
    """

    seconds: float = 10.0
    memory: int = 512 * 2**20
    processes: int = 16
    file_size: int = 2**20
    disk: int = 16 * 2**20
    output: int = 2**20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        how: "exit N", "signal N", "timed out", "stopped" by us, "setup …" where it could not be isolated; or "".
        report: What the program's process says went wrong: verdict and message, which the program could have forged.
        token_given: Whether the token came back.
        too_much: Whether it printed too much.
        seconds: From start to end.
        output: The end of what it printed.
    """

    how: str
    report: tuple[str, str]
    token_given: bool
    too_much: bool
    seconds: float
    output: str

    @property
    def problem(self) -> str:
        """Why a program that was to do nothing did not end well."""
        setup = self.how.partition("\n")[0].removeprefix("setup ") if self.how.startswith("setup") else ""
        return setup or self.report[1] or self.output.strip()[-200:] or self.how or "the process ended without a word"


def run_once(program: str, limits: Limits, mode: str) -> Ended:
    """Run a program in a process of its own, which is gone when this returns.

    Args:
        program: Code with its tests.
        limits: What it may use.
        mode: "namespaces", "landlock" or "limits".
    """
    started = time.monotonic()
    token = secrets.token_hex(16).encode()
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(mode))
        pipes = {name: stack.enter_context(_Pipe()) for name in ("report", "status", "token")}
        os.write(pipes["token"].write, token)
        pipes["token"].close_write()
        given = (pipes["report"].write, pipes["status"].write, pipes["token"].read)
        process = stack.enter_context(_process(folder, given))
        _send(process, _job(program, limits, mode, folder, given))
        for name in ("report", "status"):
            pipes[name].close_write()
        said, too_much = _listen(_sources(process, pipes, limits), started + limits.seconds + _GRACE)
    return _ended(said, token, too_much, time.monotonic() - started)


def _ended(said: dict[str, bytes], token: bytes, too_much: bool, seconds: float) -> Ended:
    how, report = (said[name].decode("utf-8", "replace") for name in ("status", "report"))
    verdict, _, message = report.partition("\n")
    given = secrets.compare_digest(said["report"], token)
    output = said["output"][-4 * _OUTPUT_SHOWN :].decode("utf-8", "replace")[-_OUTPUT_SHOWN:]
    return Ended(how, ("", "") if given else (verdict, message), given, too_much, seconds, output)


class _Pipe:
    """Two descriptors that are closed at the end, or before."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self._open = {self.read, self.write}

    def close_write(self) -> None:
        self._close(self.write)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, *error: object) -> None:
        self._close(self.read)
        self._close(self.write)


@dataclass(slots=True)
class _Source:
    """What can be read from, and what it has said so far."""

    name: str
    descriptor: int
    bound: int
    said: bytearray = field(default_factory=bytearray)

    def take(self) -> bool:
        """Read on; False at the end."""
        piece = os.read(self.descriptor, _PIECE)
        self.said += piece
        return bool(piece)


@contextmanager
def _folder(mode: str) -> Iterator[str]:
    """A folder for work; with namespaces it is made inside, in memory."""
    if mode == "namespaces":
        yield "/"
        return
    folder = tempfile.mkdtemp(prefix="sandbox-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _process(folder: str, given: tuple[int, ...]) -> Iterator[subprocess.Popen[bytes]]:
    inside = "/box" if folder == "/" else folder
    nothing_of_ours = {
        "PATH": "/usr/bin:/bin",
        "HOME": inside,
        "TMPDIR": inside,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",  # the order of a set is the same in every run
        "MALLOC_ARENA_MAX": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-s", "-S", "-B", str(_CHILD)]  # -I would ignore the seed
    process = subprocess.Popen(  # noqa: S603 — a list of our own making
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=given,
        env=nothing_of_ours,
        cwd="/",
        start_new_session=True,
        bufsize=0,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The end of its stdin tells the watcher to kill all and end; else it is killed, and what it watches with it."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _job(program: str, limits: Limits, mode: str, folder: str, given: tuple[int, ...]) -> bytes:
    report, status, token = given
    ends = {"report": report, "status": status, "token": token}
    text = program.encode("utf-8", "replace").decode()
    return marshal.dumps({"program": text, "mode": mode, "folder": folder, "user": None, **asdict(limits), **ends}, 4)


def _send(process: subprocess.Popen[bytes], job: bytes) -> None:
    whole = memoryview(len(job).to_bytes(8, "big") + job)
    try:
        while whole and process.stdin is not None:
            whole = whole[process.stdin.write(whole) or 0 :]
    except BrokenPipeError:
        return  # it ended at once; its status says why


def _sources(process: subprocess.Popen[bytes], pipes: dict[str, _Pipe], limits: Limits) -> list[_Source]:
    output = [] if process.stdout is None else [_Source("output", process.stdout.fileno(), limits.output)]
    return [*output, *(_Source(name, pipes[name].read, _REPORT) for name in ("report", "status"))]


def _listen(sources: list[_Source], deadline: float) -> tuple[dict[str, bytes], bool]:
    """All that is said until the watcher has ended, or too much is said, or the deadline is reached."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source.descriptor, selectors.EVENT_READ, source)
        too_much, watched = False, True
        while not too_much and selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()) if watched else 0)
            if not ready:
                break
            for key, _ in ready:
                if not key.data.take():
                    selector.unregister(key.fd)
                    watched = watched and key.data.name != "status"
                too_much = too_much or len(key.data.said) > key.data.bound
    return {source.name: bytes(source.said[: source.bound]) for source in sources}, too_much
