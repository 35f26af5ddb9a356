"""The optimisation loop after kill -9: it goes on, with the same result, and asks nothing again."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from evolve.optimizing import World, draw_development_set, rows, section

from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine
from tagevol_hf.evolve.auto_evol import AutoEvol
from tagevol_hf.evolve.optimize import optimize_method


class Steady(World):
    """The same, with candidates that follow from the question alone, and an evolver that takes its time."""

    def __init__(self, pause=0.0):
        super().__init__([])
        self.pause = pause

    def evolve_or_answer(self, request):
        time.sleep(self.pause)
        return super().evolve_or_answer(request)

    def optimise(self, request):
        if request.schema["title"] == "trajectory_analysis":
            return json.dumps({"failures": [], "feedback": "Add more."})
        now = int((re.search(r"method (\d+)$", section(request, "method")) or [0, "10"])[1])
        return json.dumps({"method": f"Better method {max(1, now - 2 - request.sampling.seed % 3)}"})


def stored_run(path, pause=0.0):
    """The loop over a store; the result, and how much each of the two models was asked."""
    world, store = Steady(pause), RequestStore(path)
    evolver, optimizer = StoredEngine(world.evolver, store), StoredEngine(world.optimizer, store)
    found = optimize_method(rows(), AutoEvol(evolver, attempts=1), optimizer, candidates=2, dev=10)
    return found, evolver.usage.asked, optimizer.usage.asked, len(store)


CHILD = """
import sys
sys.path.insert(0, "tests")
from evolve.optimizing import draw_development_set
from evolve.test_optimize_resume import stored_run
draw_development_set()
stored_run(sys.argv[1], 0.01)
"""


@pytest.mark.slow
def test_after_kill_9_it_goes_on_and_asks_nothing_again(tmp_path):
    draw_development_set()
    expected, evolving, optimizing, kept = stored_run(tmp_path / "whole.sqlite")
    assert len(expected.steps) >= 3
    path = tmp_path / "killed.sqlite"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], cwd=Path(__file__).parents[2])
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and child.poll() is None and not (path.exists() and stored(path) > kept / 2):
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    before = stored(path)
    assert kept / 2 < before < kept
    found, evolving_again, optimizing_again, after = stored_run(path)
    assert found == expected
    assert after == kept
    assert evolving_again + optimizing_again == kept - before
    assert evolving + optimizing == kept
    assert stored_run(path)[1:3] == (0, 0)


def stored(path):
    """Replies in a store that another process writes."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:
            return found.execute("select count(*) from replies").fetchone()[0]
    except sqlite3.Error:
        return 0
