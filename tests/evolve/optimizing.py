"""What the tests of the optimisation loop share: two models of which the failure rates are known."""

import json
import re

from datasets import Dataset
from scripted import ScriptedEngine

from tagevol_hf.evolve.auto_evol import AutoEvol
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


def draw_development_set():
    """The loop evolves the development set first: a run of no step shows which rows are in it."""
    engine = ScriptedEngine(lambda request: "no")
    optimize_method(rows(), AutoEvol(engine, attempts=1), engine, steps=1, candidates=1, dev=10)
    DEV[:] = [int(re.findall(r"number (\d+)", section(request, "instruction"))[0]) for request in engine.requests[:10]]


def run(world, data=None, **options):
    given = {"steps": 10, "batch": 10, "candidates": 2, "dev": 10, **options}
    return optimize_method(data or rows(), AutoEvol(world.evolver, attempts=1), world.optimizer, **given)
