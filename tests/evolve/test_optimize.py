"""Auto Evol-Instruct's optimisation loop, step by step as published, within its limits, and after kill -9."""

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
from datasets import Dataset
from scripted import ScriptedEngine

from tagevol_hf.engines.store import RequestStore
from tagevol_hf.engines.stored import StoredEngine
from tagevol_hf.errors import DataError
from tagevol_hf.evolve.auto_evol import AutoEvol, load_method
from tagevol_hf.evolve.failures import FAILURES, failure_of
from tagevol_hf.evolve.method import OptimizedMethod
from tagevol_hf.evolve.optimize import optimize_method
from tagevol_hf.formats import prepare


def rows(count=40):
    texts = {"id": [f"s{n}" for n in range(count)], "instruction": [f"Explain fact number {n}." for n in range(count)]}
    return prepare(Dataset.from_dict(texts))


def section(request, name):
    return request.messages[-1].content.rpartition(f"<{name}>\n")[2].partition(f"\n</{name}>")[0]


def method_in(request):
    return request.messages[-1].content.partition("<method>\n")[2].partition("\n</method>")[0]


class World:
    """Two models. The evolver marks what it evolves with the method's number; the better the method, the fewer of the
    answers ask back. The optimiser names two failures and writes methods `7`, `3`, … as it is told.

    Args:
        written: For each step the numbers of the candidates that the optimiser writes; method n fails for n of the
            development set's instructions.
    """

    def __init__(self, written):
        self.written = written
        self.log = []
        self.evolver = ScriptedEngine(self.evolve_or_answer, "evolver")
        self.optimizer = ScriptedEngine(self.optimise, "optimizer")

    def evolve_or_answer(self, request):
        if request.schema is None:
            return self.answer(request)
        number = re.search(r"\d+$", method_in(request))
        number = number.group(0) if number else "10"
        self.log.append(("evolve", number))
        return json.dumps({"work": "w", "final": f"{section(request, 'instruction')} By method {number}."})

    def answer(self, request):
        text = section(request, "instruction")
        fact, method = (int(found) for found in re.findall(r"number (\d+).*method (\d+)", text)[0])
        self.log.append(("answer", str(method)))
        return "Great, what else?" if fact in DEV[:method] else "Because of gravity."

    def optimise(self, request):
        if request.schema["title"] == "trajectory_analysis":
            self.log.append(("analyse", len(re.findall("^Case ", section(request, "cases"), re.MULTILINE))))
            failures = [{"case": 1, "reason": "stands still"}, {"case": 99, "reason": "no such case"}]
            return json.dumps({"failures": failures, "feedback": "Add more."})
        step = sum(entry[0] == "analyse" for entry in self.log) - 1
        if request.draw:
            return "I still have no idea."
        turn = sum(entry == ("write", step) for entry in self.log)
        self.log.append(("write", step))
        assert "Case 1: stands still\nAdd more." in section(request, "found")
        number = self.written[step][turn]
        return json.dumps({"method": f"Better method {number}"}) if number is not None else "I have no idea."


DEV = []  # numbers of the facts in the development set: the ten that a trial's first answers are about


@pytest.fixture(autouse=True)
def _development_set():
    draw_development_set()


def draw_development_set():
    """The loop evolves the development set first: a run of no step shows which rows are in it."""
    engine = ScriptedEngine(lambda request: "no")
    optimize_method(rows(), AutoEvol(engine, attempts=1), engine, steps=1, candidates=1, dev=10)
    DEV[:] = [int(re.findall(r"number (\d+)", section(request, "instruction"))[0]) for request in engine.requests[:10]]


def run(world, data=None, **options):
    given = {"steps": 10, "batch": 10, "candidates": 2, "dev": 10, **options}
    return optimize_method(data or rows(), AutoEvol(world.evolver, attempts=1), world.optimizer, **given)


def test_the_loop_follows_the_published_algorithm():
    world = World([[7, 4], [9, 1], [1, 5]])
    found = run(world)
    log = iter(world.log)

    def took(*expected):
        assert [next(log) for _ in expected] == list(expected)

    # e_0 is the initial method; its failure rate is measured on the development set: evolve, then answer
    took(*[("evolve", "10")] * 10, *[("answer", "10")] * 10)
    # step 1: a mini-batch of ten is evolved with e_0 …
    took(*[("evolve", "10")] * 10)
    # … the optimiser analyses the ten trajectories, and writes m candidates from its feedback …
    took(("analyse", 10), ("write", 0), ("write", 0))
    # … each of which is tried on the development set; 4 fails less often than 7 and becomes e_1
    for method in ("7", "4"):
        took(*[("evolve", method)] * 10, *[("answer", method)] * 10)
    # step 2 starts from e_1; 1 becomes e_2
    took(*[("evolve", "4")] * 10, ("analyse", 10), ("write", 1), ("write", 1))
    for method in ("9", "1"):
        took(*[("evolve", method)] * 10, *[("answer", method)] * 10)
    # step 3: no candidate fails less often than e_2 (the first equals it, and costs nothing: it is known), so it ends
    took(*[("evolve", "1")] * 10, ("analyse", 10), ("write", 2), ("write", 2))
    took(*[("evolve", "5")] * 10, *[("answer", "5")] * 10)
    assert next(log, None) is None

    assert (found.method, found.failure_rate, found.ended) == (
        "Better method 1", 0.1, "no candidate of the last step fails less often",
    )  # fmt: skip
    assert (found.first.method, found.first.failure_rate) == (load_method("initial"), 1.0)
    assert [step.chosen for step in found.steps] == [2, 2, None]
    assert [[trial.failure_rate for trial in step.trials] for step in found.steps] == [
        [0.7, 0.4],
        [0.9, 0.1],
        [0.1, 0.5],
    ]
    assert found.steps[0].trials[0].failures == {"stagnant_complexity": 7}
    assert found.steps[0].found == ({"case": 1, "reason": "stands still"},)
    assert found.summary()["failure_rate_before"] == 1.0


def test_sampling_is_as_published():
    world = World([[4, 4], [4, 4]])
    run(world)
    temperatures = {
        (request.schema or {}).get("title", "answer"): request.sampling for request in world.evolver.requests
    }
    assert {name: sampling.temperature for name, sampling in temperatures.items()} == {"auto_evol": 0.0, "answer": 0.0}
    written = [r.sampling for r in world.optimizer.requests if r.schema["title"] == "method_optimization"]
    assert {(sampling.temperature, sampling.top_p) for sampling in written} == {(0.6, 0.95)}
    assert len({sampling.seed for sampling in written[:2]}) == 2


def test_mini_batches_differ_and_stay_out_of_the_development_set():
    found = run(World([[8, 8], [6, 6], [4, 4], [2, 2], [2, 2]]))
    batches = [set(step.batch) for step in found.steps]
    assert all(len(batch) == 10 for batch in batches)
    assert len({frozenset(batch) for batch in batches}) == len(batches)
    assert not set().union(*batches) & {f"s{number}" for number in DEV}


def test_it_ends_at_its_limit_and_when_nothing_fails_any_more():
    limited = run(World([[9, 9], [8, 8], [7, 7]]), steps=2)
    assert (len(limited.steps), limited.ended, limited.failure_rate) == (2, "the limit of 2 steps", 0.8)
    perfect = run(World([[5, 0], [1, 1]]))
    assert (len(perfect.steps), perfect.failure_rate) == (1, 0.0)
    assert perfect.ended == "no instruction of the development set fails any more"


def test_a_candidate_that_cannot_be_read_is_noted_and_skipped():
    world = World([[None, 6], [9, 9]])
    found = run(world)
    first, second = found.steps[0].trials
    assert (first.method, first.failure_rate, first.note) == ("", None, "no method: not_json")
    assert (second.failure_rate, found.steps[0].chosen) == (0.6, 2)


def test_trajectories_have_as_many_stages_as_were_evolved():
    world = World([[10, 10]])
    run(world, evolutions=3, steps=1)
    cases = next(section(r, "cases") for r in world.optimizer.requests if r.schema["title"] == "trajectory_analysis")
    assert cases.count("Stage 0: Explain fact number") == 10
    assert cases.count("Stage 3: Explain fact number") == 10
    assert cases.count("By method 10. By method 10. By method 10.") == 10


def test_few_rows_are_shared_out_and_noted():
    found = run(World([[10, 10]]), rows(6), dev=50, steps=1)
    assert found.notes == ("6 instructions: 3 in the development set, 3 for mini-batches.",)
    with pytest.raises(DataError, match="optimize_method: expected at least 2 instructions, got 1"):
        run(World([]), rows(1))


@pytest.mark.parametrize("name", ["steps", "batch", "evolutions", "candidates", "dev"])
def test_numbers_out_of_range(name):
    with pytest.raises(DataError, match=rf"optimize_method\.{name}: expected at least 1, got 0"):
        run(World([]), **{name: 0})


def test_the_order_of_the_rows_has_no_say():
    expected = run(World([[7, 4], [5, 5]]))
    assert run(World([[7, 4], [5, 5]]), rows().shuffle(seed=3)) == expected


def test_saved_and_read_again(tmp_path):
    found = run(World([[7, 4], [9, 9]]))
    found.save(tmp_path / "method.json")
    assert OptimizedMethod.load(tmp_path / "method.json") == found
    (tmp_path / "half.json").write_text((tmp_path / "method.json").read_text()[:200])
    for name in ("half.json", "missing.json"):
        with pytest.raises(DataError, match=f"{name}: not an optimised method"):
            OptimizedMethod.load(tmp_path / name)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("Understood. Shall I go on?", "stagnant_complexity"),
        ("Thank you for the task! What is next?", "stagnant_complexity"),
        ("What do you mean by that?", "stagnant_complexity"),
        ("That is correct, is it not?", "stagnant_complexity"),
        ("Great idea, how many rows?", "stagnant_complexity"),
        ("Sure, which list do you mean?", "insufficient_qualification"),
        ("I can do that. Please provide the text.", "loss_of_key_information"),
        ("Great circles are the shortest ways on a sphere.", None),
        ("Sure enough, the sum is 7.", None),
        ("Is it 7? It is 7.", None),
        ("Surely the answer is: why not?", None),
        ("", None),
    ],
)
def test_failures_show_in_the_answers(answer, failure):
    assert failure_of(answer) == failure
    assert failure is None or failure in FAILURES


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
from evolve.test_optimize import draw_development_set, stored_run
draw_development_set()
stored_run(sys.argv[1], 0.01)
"""


@pytest.mark.slow
def test_after_kill_9_it_goes_on_and_asks_nothing_again(tmp_path):
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
