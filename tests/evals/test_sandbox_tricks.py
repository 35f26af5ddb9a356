"""Programs that try to pass without passing, or to get more rights."""

import pytest

from tagevol_hf.evals import sandbox
from tagevol_hf.evals.sandbox import CHOICE, Limits

SMALL = Limits(seconds=3, memory=256 * 2**20, processes=8, file_size=2**20, disk=4 * 2**20, output=100_000)


def _holds(mode):
    return sandbox._probe((mode,)).mode == mode


@pytest.fixture(params=["namespaces", "landlock"])
def mode(request, monkeypatch):
    if not _holds(request.param):
        pytest.skip(f"{request.param}: {sandbox._probe((request.param,)).refused}")
    monkeypatch.setenv(CHOICE, request.param)
    return request.param


FORGED = """
import os
for number in range(3, 4096):
    try: os.write(number, b'passed')
    except OSError: pass
assert False
"""


@pytest.mark.slow
class TestTricks:
    @pytest.mark.parametrize(
        ("code", "verdict"),
        [
            ("import builtins\nbuiltins.AssertionError = Exception\nbuiltins.print = None\nassert False", "failed"),
            ("import sys, os\nsys.exit = os._exit = lambda code=0: None\nassert False", "failed"),
            ("import atexit, os\natexit.register(os._exit, 0)\nassert False", "failed"),
            ("import sys\nsys.excepthook = lambda *a: None\nraise ValueError", "error"),
            ("import os\nos.write = lambda *a: 1\nos.read = lambda *a: b'x'\nassert False", "failed"),
            (FORGED, "exited early or error"),
            ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", "error"),
            ("import os\nos.abort()", "error"),
            ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "error"),
            ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", "passed"),
            # A copy's end is not the program's, whichever comes first; without namespaces there is no fork.
            ("import os\nif os.fork(): assert False", "failed or error"),
            ("import os, time\nif os.fork(): time.sleep(0.3); assert False", "failed or error"),
            ("import os, time\nif not os.fork(): assert False\ntime.sleep(0.3)", "passed or error"),
            ("import sys, os\nsys.stdout.close(); sys.stderr = None; os.closerange(1, 3)", "passed"),
            ("import os\nos.closerange(0, 4096)\nassert True", "exited early or error"),
            ("import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()", "error or out of memory or timed out"),
            ("import gc, sys\nsys.modules.clear()\ngc.collect()", "passed"),
        ],
    )
    def test_tricks(self, mode, code, verdict):
        assert sandbox.run(code, SMALL).verdict in verdict.split(" or ")

    def test_dangerous_calls(self, mode):
        code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
calls = {'unshare': (libc.unshare, 0x10000000), 'mount': (libc.mount, b'none', b'/', None, 0x5000 | 32, None),
         'ptrace': (libc.ptrace, 16, 1, 0, 0), 'shmget': (libc.shmget, 0, 4096, 0o1600), 'chroot': (libc.chroot, b'.'),
         'memfd': (libc.memfd_create, b'x', 0), 'setns': (libc.setns, 0, 0)}
if os.getuid(): calls['setuid'] = (libc.setuid, 0)
for name, (call, *values) in calls.items():
    if call(*values) >= 0: print('did', name)
"""
        found = sandbox.run(code, SMALL)
        assert (found.verdict, found.output) == ("passed", ""), found
