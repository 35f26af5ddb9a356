"""The benchmarks of evolution: their server counts right, and the small run holds the targets."""

import importlib
import json
import sys
import urllib.request
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks" / "evolution"


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    for name in ("calls", "counting", "scenarios", "scenarios.plan", "scenarios.report"):
        sys.modules.pop(name, None)
    return importlib.import_module("calls")


def ask(server, text, title=""):
    schema = {"title": title, "properties": {"chosen": {"minItems": 2}}}
    form = {"response_format": {"json_schema": {"schema": schema}}} if title else {}
    body = json.dumps({"messages": [{"role": "user", "content": text}], **form}).encode()
    request = urllib.request.Request(f"{server.url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def test_chains_are_measured_by_the_marks_that_a_prompt_shows(calls):
    with calls.Server() as server:
        first = json.loads(ask(server, "<instruction>\nTask 1: sort.\n</instruction>", "evol_instruct"))["final"]
        assert server.longest_chain == 1
        ask(server, "<instruction>\nTask 2: sort.\n</instruction>", "evol_instruct")
        assert server.longest_chain == 1
        second = ask(server, f"#The Given Prompt#:\n{first}")
        assert server.longest_chain == 2
        ask(server, f"#The Given Prompt#:\n{second}")
        assert server.longest_chain == 3
        assert server.evolving(server.calls) == 4


def test_questions_are_counted_by_kind(calls):
    with calls.Server() as server:
        found = json.loads(ask(server, "<instruction>\nTask 1: sort.\n</instruction>", "tag_evol"))
        assert found["chosen"] == [1, 2]
        ask(server, "", "evol_equality")
        ask(server, "<instruction>\nTask 1: sort.\n</instruction>")
        assert dict(server.calls) == {"tag_evol": 1, "evol_equality": 1, "respond": 1}
        assert server.evolving(server.calls) == 1
        assert server.prompt_tokens["tag_evol"] == len("<instruction>\nTask 1: sort.\n</instruction>") // 4


def test_faults_come_evenly_and_are_cut_in_the_middle(calls):
    with calls.Server(0.25) as server:
        texts = [ask(server, "<instruction>\nTask 1: sort.\n</instruction>", "evol_instruct") for _ in range(8)]
    assert [text.endswith("}") for text in texts] == [True, True, True, False] * 2


@pytest.mark.slow
def test_a_small_run_holds_its_targets(calls):
    outcome = calls.measure(40, {})
    assert all(check.held for check in outcome.checks), outcome.checks
    whole = {line["method"]: line for line in outcome.table if line["faults"] == "0%"}
    assert whole["Tag-Evol, budgets 1 3 5"]["calls"] == 120
    assert whole["Tag-Evol, budgets 1 3 5"]["tags, judge, answers"] == 40  # a seed is tagged once, for all budgets
    assert whole["Evol-Instruct, 3 rounds"]["last round only"] == "3.000"
    assert {line["longest chain"] for name, line in whole.items() if "Tag-Evol" not in name} == {3}
    assert whole["Evol-Instruct, 3 rounds, elimination"]["tags, judge, answers"] == 240
