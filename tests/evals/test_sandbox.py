"""The sandbox: verdicts, and what it is on systems that allow all, less, and nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tagevol_hf.errors import RecipeError
from tagevol_hf.evals import sandbox
from tagevol_hf.evals.sandbox import CHOICE, Limits

ROOT = Path(__file__).parents[2]
SMALL = Limits(seconds=3, memory=256 * 2**20, processes=8, file_size=2**20, disk=4 * 2**20, output=100_000)


@pytest.fixture
def isolated():
    if sandbox.isolation().mode not in ("namespaces", "landlock"):
        pytest.skip(f"nothing isolates here: {sandbox.isolation().refused}")


@pytest.mark.parametrize(
    ("program", "verdict", "detail"),
    [
        ("print('hello')\nassert 1 + 1 == 2", "passed", ""),
        ("def f():\n    return 1\nassert f() == 2", "failed", "line 3: assert f() == 2"),
        ("1 / 0", "error", "ZeroDivisionError"),
        ("def f(:", "error", "SyntaxError"),
        ("import sys\nsys.exit(0)\nassert False", "exited early", "SystemExit"),
        ("import os\nprint('passed')\nos._exit(0)", "exited early", "exit 0"),
        ("x = bytearray(10 * 2**30)", "out of memory", "MemoryError"),
    ],
)
def test_each_end_has_its_verdict(isolated, program, verdict, detail):
    found = sandbox.run(program, SMALL)
    assert found.verdict == verdict
    assert detail in found.detail


def test_several_at_once_keep_their_order(isolated):
    programs = ["print('first')", None, "assert False, 'third'"]
    found = sandbox.run_all(programs, SMALL, workers=3)
    assert [each and each.verdict for each in found] == ["passed", None, "failed"]
    assert found[0].output == "first\n"


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv(CHOICE, "landlock,docker")
    with pytest.raises(RecipeError, match="'docker' is no mode"):
        sandbox.isolation()


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


DENY = """
import errno, json
from tagevol_hf.evals import sandbox, sandbox_seccomp as seccomp, sandbox_system
from tagevol_hf.errors import RecipeError
sandbox_system.forbid_new_rights()
denied = {"unshare": (272, 97), "landlock": (444, 444)}
seccomp._install([step for name in NAMES for step in seccomp._refuse(denied[name], errno.EPERM)])
found = sandbox.isolation()
try:
    message = sandbox.run("pass").verdict
except RecipeError as error:
    message = str(error)
print(json.dumps([found.mode, list(found.missing), message]))
"""


@pytest.mark.slow
def test_a_system_that_isolates_nothing_says_so_and_runs_nothing():
    done = python(DENY.replace("NAMES", "denied"))
    mode, missing, message = json.loads(done.stdout)
    assert (mode, missing) == ("none", ["network", "files", "processes", "signals", "disk"])
    assert "cannot keep generated code from network, files, processes, signals" in message
    assert "namespaces: unshare: Operation not permitted" in message
    assert "TAGEVOL_SANDBOX=limits" in message


@pytest.mark.slow
def test_there_plain_limits_must_be_asked_for_and_say_what_they_lack():
    mode, missing, message = json.loads(python(DENY.replace("NAMES", "denied"), {CHOICE: "limits"}).stdout)
    assert (mode, message) == ("limits", "passed")
    assert {"network", "files"} <= set(missing)


@pytest.mark.slow
def test_where_there_are_no_namespaces_landlock_is_taken():
    if sandbox._probe(("landlock",)).mode == "none":
        pytest.skip(f"no Landlock here: {sandbox._probe(('landlock',)).refused}")
    done = python(DENY.replace("NAMES", "['unshare']"))
    assert json.loads(done.stdout) == ["landlock", ["disk"], "passed"]


def python(code, env=None, executable=sys.executable, **more):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    done = subprocess.run([executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_an_ordinary_user_is_isolated_too():
    system = "/usr/bin/python3"
    if os.geteuid() != 0 or not os.access(system, os.X_OK):
        pytest.skip("needs root, to become another user, and a system Python")
    code = (
        "import os\nfrom tagevol_hf.evals import sandbox\nprint(sandbox.isolation().mode)\n"
        "try:\n    print(sandbox.run('import os; assert os.getpid() == 2; os.kill(1, 9)').detail)\n"
        "except Exception as error:\n    print(error)\n"
        f"print(sandbox.run({FORKS!r}, sandbox.Limits(seconds=3, processes=8)).output)"
    )
    done = python(code, executable=system, user=65534, group=65534, extra_groups=[], cwd="/")
    assert done.stdout.split("\n")[0] == "namespaces", done.stdout
    assert int(done.stdout.split()[-1]) <= 8, done.stdout
