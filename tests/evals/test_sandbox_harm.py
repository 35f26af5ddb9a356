"""Harmful programs in the sandbox: each is bounded by limits besides, contained, and leaves nothing."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tagevol_hf.evals import sandbox
from tagevol_hf.evals.sandbox import CHOICE, Limits

ROOT = Path(__file__).parents[2]
SMALL = Limits(seconds=3, memory=256 * 2**20, processes=8, file_size=2**20, disk=4 * 2**20, output=100_000)


def _holds(mode):
    return sandbox._probe((mode,)).mode == mode


@pytest.fixture(params=["namespaces", "landlock"])
def mode(request, monkeypatch):
    if not _holds(request.param):
        pytest.skip(f"{request.param}: {sandbox._probe((request.param,)).refused}")
    monkeypatch.setenv(CHOICE, request.param)
    return request.param


def processes_named(name):
    return [folder.name for folder in Path("/proc").glob("[0-9]*") if _command(folder) == name]


def _command(process):
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return None  # it has just ended


def named(name, code):
    return f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\n{code}"


FORKS = """
import os, time
n = 0
try:
    while n < 40:
        if os.fork() == 0: time.sleep(30)
        n += 1
except OSError: pass
print(n)
"""


@pytest.mark.slow
class TestHarm:
    def test_a_child_that_left_its_session_and_ignores_signals_is_killed(self, mode):
        name = f"tgv{os.getpid()}{mode[:1]}"
        code = """
import os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
except OSError: pass
time.sleep(60)
"""
        seen = []
        ended = threading.Event()

        def look():
            while not ended.wait(0.05):
                seen.extend(processes_named(name))

        thread = threading.Thread(target=look)
        thread.start()
        found = sandbox.run(named(name, code), SMALL)
        ended.set()
        thread.join()
        assert found.verdict == "timed out"
        assert seen, "the check cannot see what it looks for"
        assert processes_named(name) == []

    def test_a_child_left_behind_by_a_program_that_passed_is_killed(self, mode):
        name = f"tgl{os.getpid()}{mode[:1]}"
        code = (
            "import os, time\ntry:\n    if os.fork() == 0:\n        os.setsid(); time.sleep(60)\nexcept OSError: pass"
        )
        found = sandbox.run(named(name, code), SMALL)
        assert found.verdict == "passed"
        assert found.seconds < 2
        assert processes_named(name) == []

    def test_an_endless_loop(self, mode):
        found = sandbox.run("while True: pass", Limits(seconds=1))
        assert found.verdict == "timed out"
        assert found.seconds < 3

    def test_a_program_that_catches_everything_forever(self, mode):
        code = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
        assert sandbox.run(code, Limits(seconds=1)).verdict == "timed out"

    def test_processes_are_bounded(self, mode):
        found = sandbox.run(FORKS, SMALL)
        assert int(found.output) < SMALL.processes

    def test_a_fork_bomb(self, mode):
        name = f"tgb{os.getpid()}{mode[:1]}"
        code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
        found = sandbox.run(named(name, code), SMALL)
        assert found.verdict == "timed out"
        assert processes_named(name) == []
        assert sandbox.run("pass", SMALL).verdict == "passed"

    def test_memory_by_small_pieces_and_by_children(self, mode):
        assert sandbox.run("x = []\nwhile True: x.append('x' * 10**6)", SMALL).verdict == "out of memory"

    def test_output_without_end(self, mode):
        found = sandbox.run("while True: print('x' * 10**6)", SMALL)
        assert found.verdict == "too much output"
        assert found.seconds < 3
        assert len(found.output) <= 2_000

    def test_one_gigabyte_on_the_error_stream(self, mode):
        code = "import os\nfor _ in range(2**10): os.write(2, b'x' * 2**20)"
        assert sandbox.run(code, SMALL).verdict == "too much output"

    def test_writes_outside(self, mode, tmp_path):
        tmp_path.chmod(0o777)
        outside = [
            tmp_path,
            ROOT,
            Path(tempfile.gettempdir()),
            Path.home(),
            Path("/dev/shm"),
            Path("/var/tmp"),
            Path("/"),
        ]
        outside += [Path(sys.base_prefix), Path("/usr"), Path("/etc"), Path("/usr/bin")]
        name = f"tagevol-evil-{os.getpid()}"
        code = f"""
import os
for folder in {[str(folder) for folder in outside]}:
    for how in (lambda path: open(path, 'w').close(), os.mkdir, lambda path: os.symlink('/', path)):
        try: how(os.path.join(folder, {name!r}))
        except OSError: continue
        print('wrote', folder)
"""
        found = sandbox.run(code, SMALL)
        assert found.verdict == "passed", found
        assert found.output == ""
        assert not any((folder / name).exists() for folder in outside)

    def test_deleting_and_changing_files(self, mode, tmp_path):
        kept = tmp_path / "kept.txt"
        kept.write_text("kept")
        kept.chmod(0o666)
        for folder in (tmp_path, *tmp_path.parents):
            if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
                folder.chmod(0o777)
        code = f"""
import os, shutil
path = {str(kept)!r}
def rename(): os.rename(path, 'mine')
def append(): open(path, 'a').write('changed')
def link(): os.link(path, 'mine')
for harm in (lambda: os.remove(path), lambda: os.truncate(path, 0), lambda: os.chmod(path, 0), rename, append, link,
             lambda: os.utime(path, (0, 0)), lambda: open(path).read(), lambda: os.open(path, os.O_TRUNC)):
    try: harm()
    except OSError: continue
    print('did', harm)
shutil.rmtree({str(tmp_path)!r}, ignore_errors=True)
"""
        before = kept.stat()
        found = sandbox.run(code, SMALL)
        assert (found.verdict, found.output) == ("passed", "")
        assert kept.read_text() == "kept"
        assert (kept.stat().st_mode, kept.stat().st_mtime) == (before.st_mode, before.st_mtime)

    def test_what_is_written_inside_is_bounded_and_goes(self, mode):
        before = set(Path(tempfile.gettempdir()).glob("sandbox-*"))
        big = sandbox.run("f = open('big', 'wb')\nwhile True: f.write(b'x' * 2**16)", SMALL)
        assert big.verdict == "error"
        assert "File too large" in big.detail
        many = "for n in range(100): open(str(n), 'wb').write(b'x' * 2**18)"
        found = sandbox.run(many, SMALL)
        assert found.verdict == ("passed" if "disk" in sandbox.isolation().missing else "error")
        assert set(Path(tempfile.gettempdir()).glob("sandbox-*")) <= before

    def test_the_network(self, mode):
        reached = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(0.2)
            port = listener.getsockname()[1]
            code = f"""
import socket
for family, kind, host in ((socket.AF_INET, socket.SOCK_STREAM, '127.0.0.1'),
                           (socket.AF_INET, socket.SOCK_DGRAM, '8.8.8.8'),
                           (socket.AF_INET6, socket.SOCK_STREAM, '::1')):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(1); s.connect((host, {port})); s.send(b'secret')
    except OSError: continue
    print('reached', host)
"""
            with socket.create_connection(("127.0.0.1", port)):
                listener.accept()[0].close()  # the listener can be reached, though not from there
            found = sandbox.run(code, SMALL)
            with contextlib.suppress(TimeoutError):
                reached.append(listener.accept())
        assert (found.verdict, found.output, reached) == ("passed", "", [])

    def test_signals_to_others(self, mode):
        victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
        try:
            code = f"""
import os, signal
for number in (1, {victim.pid}, {os.getpid()}, {os.getppid()}):
    for send in (0, signal.SIGTERM):
        try: os.kill(number, send)
        except OSError: continue
        print('reached', number)
"""
            found = sandbox.run(code, SMALL)
            assert (found.verdict, found.output) == ("passed", "")
            assert victim.poll() is None
        finally:
            victim.kill()
            victim.wait()

    def test_nothing_of_the_user_is_to_be_seen(self, mode, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        code = f"""
import os
print('HF_TOKEN' in os.environ, os.path.samefile(os.environ['HOME'], '.'), os.path.samefile(os.environ['TMPDIR'], '.'))
for path in ({str(ROOT / "pyproject.toml")!r}, '/etc/passwd', '/proc/self/environ', '/proc/1/environ'):
    try: open(path).read()
    except OSError: continue
    print('read', path)
try: input()
except EOFError: print('no input')
"""
        found = sandbox.run(code, SMALL)
        assert found.output == "False True True\nno input\n"

    def test_the_end_of_the_caller_ends_the_program(self, mode, tmp_path):
        name = f"tge{os.getpid()}{mode[:1]}"
        code = named(name, "import time; time.sleep(60)")
        code = f"from tagevol_hf.evals import sandbox\nsandbox.run({code!r}, sandbox.Limits(60))"
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), CHOICE: mode, "TMPDIR": str(tmp_path)}
        caller = subprocess.Popen([sys.executable, "-c", code], env=env)
        try:
            assert _within(10, lambda: processes_named(name))
        finally:
            caller.kill()
            caller.wait()
        assert _within(5, lambda: not processes_named(name) and not list(tmp_path.iterdir()))


def _within(seconds, condition):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False
