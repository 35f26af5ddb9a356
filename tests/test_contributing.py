"""What CONTRIBUTING says of the files to touch is true: each change is made in a copy of the tree, in these files only.

All changes are made at once, and one process of the copy tries them; each then has its test.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("tagevol_hf", "recipes", "accelerate_configs", "scripts")


@dataclass(frozen=True)
class Change:
    """New files, (file, text, what stands in its place) of those that are there, and code that uses the change."""

    new: dict[str, str]
    touched: tuple[tuple[str, str, str], ...]
    probe: str


CHANGES = {
    "a prompt for another domain": Change(
        {
            "recipes/quickstart/law.txt": "Rewrite this legal task so that it needs {{budget}} of the topics.\n"
            "=== row ===\n{{instruction}}\n{{input}}\n{{candidates}}\n",
        },
        (("recipes/quickstart/curate.yaml", "{budgets: [1, 3, 5]}", "{budgets: [1, 3, 5], prompt: law.txt}"),),
        """
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.pipeline import curate
recipe = load_recipe("recipes/quickstart", limit=4)
run = curate(recipe, "run-law")
assert run.record["totals"]["selected"]
import tagevol_hf as te
step = dict(recipe.steps)["tag_evol"]
assert "legal task" in te.TagEvol(te.open_engine("builtin"), prompt=step.prompt).prompt.shared
""",
    ),
    "a plan of comparison": Change(
        {},
        (
            ("tagevol_hf/selection/plans.py", '"anchor", "swiss"]', '"anchor", "swiss", "chain"]'),
            (
                "tagevol_hf/selection/plans.py",
                '    if plan == "adjacent" and degree == 1:',
                '    if plan == "chain":\n        return [(place, place + 1) for place in range(size - 1)]\n'
                '    if plan == "adjacent" and degree == 1:',
            ),
        ),
        """
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.pipeline import curate
recipe = load_recipe("recipes/quickstart", ["compare.plan=chain"], limit=8)
run = curate(recipe, "run-chain")
assert run.record["totals"]["selected"]
assert sum(run.selected["comparisons"]) > 0
""",
    ),
    "an engine": Change(
        {
            "tagevol_hf/engines/echo.py": '''
from .base import Reply

class EchoEngine:
    """Says what it was asked."""

    identity = "echo@1"

    def stream(self, requests):
        for place, request in enumerate(requests):
            yield place, Reply(request.messages[-1].content)

    def close(self):
        pass
''',
        },
        (
            (
                "tagevol_hf/engines/kinds.py",
                "KINDS = (\n",
                'KINDS = (\n    Kind(("echo:",), "echo:ANYTHING", lambda spec, store: _class("echo", "EchoEngine")(),\n'
                "         lambda spec: None),\n",
            ),
        ),
        """
import tagevol_hf as te
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.engines.base import Message, Request
assert load_recipe("recipes/quickstart", ["engines.default=echo:x"]).engines["default"] == "echo:x"
[(place, reply)] = te.open_engine("echo:x").stream([Request((Message("user", "hello"),))])
assert reply.text == "hello"
""",
    ),
    "a benchmark": Change(
        {
            "tagevol_hf/evals/capitals.py": '''
"""Capitals of countries."""
from ..prompts import Prompt
from .task import Grade, Problem, Task, missing

def problems(records):
    return [Problem(f"capitals/{row}", (f"The capital of {record['of']}?",), record)
            for row, record in enumerate(records)]

def grade(problems, outputs, means):
    return [missing(problem) if output is None else
            Grade(problem.id, float(problem.record["is"] in output[-1]), "right" if problem.record["is"] in output[-1]
                  else "wrong") for problem, output in zip(problems, outputs, strict=True)]

TASK = Task("capitals", "Capitals", ("me/capitals", None, "test"), problems, grade)
''',
        },
        (("tagevol_hf/evals/tasks.py", 'NAMES = ("gsm8k",', 'NAMES = ("capitals", "gsm8k",'),),
        """
import json, pathlib
from tagevol_hf.cli import app
from typer.testing import CliRunner
pathlib.Path("capitals.jsonl").write_text(json.dumps({"of": "France", "is": "Paris"}) + "\\n")
pathlib.Path("said.jsonl").write_text(json.dumps({"output": "It is Paris."}) + "\\n")
done = CliRunner().invoke(app, ["eval", "--task", "capitals", "--data", "capitals.jsonl",
                                "--predictions", "said.jsonl", "--out", "scored", "--json"])
assert done.exit_code == 0, done.output
assert '"accuracy": 1.0' in done.output, done.output
""",
    ),
    "a baseline": Change(
        {
            "tagevol_hf/selection/baselines/shortest.py": '''
from dataclasses import dataclass
from .candidates import Ranked, read_candidates

@dataclass(frozen=True)
class Shortest:
    """The rows with the shortest responses, in characters."""

    def select(self, dataset, n):
        candidates = read_candidates("shortest", dataset, n, {"response": "prepare"})
        order = sorted(range(len(candidates)), key=lambda row: len(candidates.rows[row]["response"]))[:n]
        return candidates.chosen([Ranked(row, None, "short") for row in order], n)
''',
        },
        (
            (
                "tagevol_hf/selection/baselines/choosing.py",
                '        "random": Random,\n        "longest": Longest,',
                '        "shortest": Shortest,\n        "random": Random,\n        "longest": Longest,',
            ),
            (
                "tagevol_hf/selection/baselines/choosing.py",
                "from .simple import",
                "from .shortest import Shortest\nfrom .simple import",
            ),
            ("tagevol_hf/recipe_selecting.py", 'Method = Literal["random",', 'Method = Literal["shortest", "random",'),
        ),
        """
import json
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from
from datasets import Dataset
Dataset.from_dict({"instruction": ["a", "b", "c"], "output": ["yes", "no, never", "x"]}).to_json("short.jsonl")
run = curate(recipe_from({"name": "s", "data": {"source": "short.jsonl"}, "engines": {"default": "builtin"},
                          "steps": [{"baseline": {"method": "shortest", "n": 1}}]}), "run-short")
assert run.selected["response"] == ["x"] or list(run.selected["response"]) == ["x"]
""",
    ),
    "a row format": Change(
        {},
        (
            (
                "tagevol_hf/formats.py",
                '            "messages": "messages",\n            "conversations"',
                '            "messages": "messages",\n            "dialog": "messages",\n            "conversations"',
            ),
        ),
        """
import tagevol_hf as te
from datasets import Dataset
turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
row = te.prepare(Dataset.from_dict({"dialog": [turns]}))[0]
assert (row["instruction"], row["response"]) == ("Hi", "Hello.")
""",
    ),
    "a check of a rewrite": Change(
        {},
        (
            (
                "tagevol_hf/evolve/checks.py",
                "    if _plain(evolved) == _plain(seed):",
                '    if evolved.isupper():\n        raise ParseError("shouted")\n'
                "    if _plain(evolved) == _plain(seed):",
            ),
            (
                "tagevol_hf/rows.py",
                '        "unchanged": ',
                '        "shouted": "all is in capitals",\n        "unchanged": ',
            ),
        ),
        """
from tagevol_hf.errors import ParseError
from tagevol_hf.evolve.checks import check_rewrite
from tagevol_hf.rows import rejection
try:
    check_rewrite("Draw a cat.", "DRAW A BIG CAT.")
except ParseError as fault:
    assert rejection("tag_evol", fault.reason)["reason"] == "shouted"
else:
    raise AssertionError("nothing was refused")
""",
    ),
    "a section of the report": Change(
        {
            "tagevol_hf/report/longest.py": '''
def longest(rows):
    """Characters of the longest selected instruction."""
    return max((len(row.instruction.head) for row in rows.selected), default=0)
''',
            "tagevol_hf/report/sections/longest.html.j2": "<section><p>{{ page.longest }} long</p></section>",
        },
        (
            (
                "tagevol_hf/report/collect.py",
                "from .measured import",
                "from .longest import longest\nfrom .measured import",
            ),
            ("tagevol_hf/report/collect.py", "    rows: Rows\n", "    rows: Rows\n    longest: int\n"),
            (
                "tagevol_hf/report/collect.py",
                "        rows=rows,\n",
                "        rows=rows,\n        longest=longest(rows),\n",
            ),
            (
                "tagevol_hf/report/page.html.j2",
                '{% include "sections/rejected.html.j2" %}',
                '{% include "sections/longest.html.j2" %}\n{% include "sections/rejected.html.j2" %}',
            ),
        ),
        """
import pathlib, re
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.report import write_report
curate(load_recipe("recipes/quickstart", limit=4), "run-page")
page = write_report(pathlib.Path("run-page")).read_text()
assert re.search(r"[1-9][0-9]* long", page)
""",
    ),
    "a figure for papers": Change(
        {},
        (
            (
                "tagevol_hf/figures/data.py",
                '    "funnel": (funnel,',
                '    "way": (funnel, "steps with rows"),\n    "funnel": (funnel,',
            ),
            (
                "tagevol_hf/figures/run_figures.py",
                '        "funnel": bars.funnel,',
                '        "way": bars.funnel,\n        "funnel": bars.funnel,',
            ),
        ),
        """
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.figures import write_figures
curate(load_recipe("recipes/quickstart", limit=4), "run-figures")
assert {"way.svg", "way.png"} <= {file.name for file in write_figures("run-figures", "drawn")}
""",
    ),
    "an accelerate configuration": Change(
        {"accelerate_configs/two_gpus.yaml": "distributed_type: MULTI_GPU\nnum_processes: 2\n"},
        (),
        """
from tagevol_hf.project import project_file
assert project_file("accelerate_configs/two_gpus.yaml").read_text().startswith("distributed_type")
""",
    ),
    "an embedder": Change(
        {},
        (
            (
                "tagevol_hf/tags/embed.py",
                '    if spec == "builtin":\n',
                '    if spec == "builtin-short":\n        return NgramEmbedder(64)\n    if spec == "builtin":\n',
            ),
        ),
        """
from tagevol_hf.recipe_file import load_recipe
from tagevol_hf.tags.embed import open_embedder
assert open_embedder("builtin-short").encode(["cats", "dogs"]).shape == (2, 64)
load_recipe("recipes/quickstart", ["normalize_tags.embedder=builtin-short"])
""",
    ),
    "a licence or citation for cards": Change(
        {},
        (
            (
                "tagevol_hf/hub/licences.yaml",
                "  tatsu-lab/alpaca:",
                "  me/mine:\n    license: mit\n    cite: '@misc{mine}'\n  tatsu-lab/alpaca:",
            ),
        ),
        """
from tagevol_hf.hub.licences import sources_of
assert sources_of({"data": {"source": "me/mine"}})[0].license == "mit"
""",
    ),
}
TRY = """
import json, sys, traceback
probes = json.load(open("probes.json"))
found = {}
for name, code in probes.items():
    try:
        exec(compile(code, name, "exec"), {})
        found[name] = ""
    except BaseException:
        found[name] = traceback.format_exc()
json.dump(found, open("found.json", "w"))
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """Change → what went wrong when the copy used it; empty if nothing."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for change in CHANGES.values():
        make(change, copy)
    (copy / "probes.json").write_text(json.dumps({name: change.probe for name, change in CHANGES.items()}))
    surroundings = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, "-c", TRY], cwd=copy, env=surroundings, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads((copy / "found.json").read_text())


def make(change, copy):
    for path, text in change.new.items():
        (copy / path).write_text(text)
    for path, old, new in change.touched:
        file = copy / path
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, (
            f"{path}: {old!r} stands there {text.count(old)} times; the change must be told anew"
        )
        file.write_text(text.replace(old, new), encoding="utf-8")


def rows_of_the_table():
    """Change → the files that CONTRIBUTING names for it, as patterns."""
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    table = [line.split("|")[1:-1] for line in lines if line.startswith("| a")]
    return {name.strip(): (re.findall(r"`([^`]+)`", new), re.findall(r"`([^`]+)`", old)) for name, new, old in table}


def test_every_change_of_the_table_is_tried():
    assert set(rows_of_the_table()) == set(CHANGES)


@pytest.mark.parametrize("name", list(CHANGES))
def test_only_the_files_are_touched_that_contributing_names(name):
    new, touched = rows_of_the_table()[name]
    files = {path for path, _, _ in CHANGES[name].touched}
    if name != "a prompt for another domain":  # its files are the user's own
        assert files == set(touched)
        assert {path.rpartition("/")[0] for path in CHANGES[name].new} == {path.rpartition("/")[0] for path in new}
    assert len(files) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CHANGES))
def test_the_change_works(tried, name):
    assert tried[name] == ""
