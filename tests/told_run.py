"""A small run folder, written by hand, that has every kind of row: for the tests of `tagevol show`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from tagevol_hf.rows import REJECTION, ROW_FEATURES, rejection
from tagevol_hf.selection.compare import Comparer
from tagevol_hf.selection.pairing import PAIR_FEATURES

ASPECTS = {"aspects": List({"aspect": Value("string"), "tags": List(Value("string"))}), "tags": List(Value("string"))}
EVOLVED = {
    "seed_id": Value("string"),
    "seed_instruction": Value("string"),
    "seed_tags": List(Value("string")),
    "budget": Value("int64"),
    "candidates": List(Value("string")),
    "chosen_tags": List(Value("string")),
    "plan": Value("string"),
}
TAGGED = {"open_tags": List({"tag": Value("string"), "explanation": Value("string")}), "labels": List(Value("string"))}
CLUSTERED = {"cluster": Value("int64"), "clusters": List(Value("int64"))}
SCORED = {"score": Value("float64"), "score_error": Value("float64"), "comparisons": Value("int64")}
CHOSEN = {"cluster_rank": Value("int64"), "why": Value("string")}

SEED = {"id": "s1", "instruction": "Add 2 and 3.", "input": "", "response": "5", "history": [], "rejection": None}
TAGS = {"aspects": [{"aspect": "subject", "tags": ["sum", "digits"]}], "tags": ["sum", "digits"]}
STEPS = ("load", "aspect_tags", "tag_pool", "tag_evol", "respond", "normalize_tags", "compare", "select")


def evolved(budget: int, **more: Any) -> dict[str, Any]:
    return {
        **SEED,
        "id": f"s1/b{budget}",
        "instruction": f"Add 2 and 3 in {budget} ways.",
        "response": "",
        "seed_id": "s1",
        "seed_instruction": SEED["instruction"],
        "seed_tags": TAGS["tags"],
        "budget": budget,
        "candidates": ["tide", "poem", "proof"],
        "chosen_tags": ["tide", "proof"][:budget],
        "plan": "weave them in",
        **more,
    }


def scored(budget: int, score: float, **more: Any) -> dict[str, Any]:
    tags = {"open_tags": [{"tag": "sums", "explanation": "it adds"}, {"tag": "odd", "explanation": ""}]}
    place = {"labels": ["addition"], "cluster": 4, "clusters": [4]}
    marks = {"score": score, "score_error": 1.5, "comparisons": 2}
    return evolved(budget, response=f"{budget} ways: 5", **tags, **place, **marks, **more)


def pair(first: str, second: str, marks: tuple[float, float] | None) -> dict[str, Any]:
    texts = {
        f"{place}_{name}": f"{name} {place}" for place in ("first", "second") for name in ("instruction", "response")
    }
    judged = (
        {"first_score": marks[0], "second_score": marks[1], "analysis": "the first is \x1b[31mred"} if marks else {}
    )
    mark = None if marks else rejection("compare", "truncated", "cut off", "raw", 1)
    ids = {"id": f"{first}|{second}", "cluster": 4, "across": False, "round": 1}
    return {**ids, "first_id": first, "second_id": second, **texts, "rejection": mark, **judged}


def save(folder: Path, rows: list[dict[str, Any]], more: dict[str, Any]) -> None:
    features = Features({**ROW_FEATURES, **more})
    columns = {name: [row.get(name) for row in rows] for name in features}
    Dataset.from_dict(columns, features=features).save_to_disk(folder)


def save_told_run(folder: Path) -> Path:
    """A complete run of eight steps."""
    asked = {**EVOLVED, **TAGGED, **CLUSTERED, **SCORED}
    lost = evolved(3, rejection=rejection("tag_evol", "wrong_count", "2 of 3 chosen", '{"chosen": \x1b]0;x\x07[1]}', 3))
    best, worse = scored(1, 70.0), scored(2, 61.0)
    chosen = best | {"cluster_rank": 1, "why": "number 1 of 2 in cluster 4, score 70.00"}
    save(folder / "steps" / "01-load", [SEED], {})
    save(folder / "steps" / "02-aspect_tags", [SEED | TAGS], ASPECTS)
    save(folder / "steps" / "04-tag_evol", [evolved(1), evolved(2)], EVOLVED)
    answered = [evolved(budget, response=f"{budget} ways: 5") for budget in (1, 2)]
    save(folder / "steps" / "05-respond", answered, EVOLVED)
    save(folder / "steps" / "07-compare", [best, worse], asked)
    save(folder / "selected", [chosen], {**asked, **CHOSEN})
    shutil.copytree(folder / "selected", folder / "steps" / "08-select")
    save(folder / "not_chosen", [worse], asked)
    save(folder / "rejected", [lost], EVOLVED)
    _save_pairs(folder)
    _save_values(folder)
    return folder


def ended_early(whole: Path, folder: Path, status: str, last: int) -> Path:
    """A copy of the run, as it would be had it ended after so many steps."""
    shutil.copytree(whole, folder)
    for path in (*(folder / "steps").iterdir(), *folder.glob("comparisons*")):
        if not path.name[:2].isdigit() or int(path.name[:2]) > last:
            shutil.rmtree(path)
    for name in ("selected", "not_chosen", "rejected"):
        shutil.rmtree(folder / name)
    record = json.loads((folder / "run.json").read_text())
    record |= {"status": status, "steps": record["steps"][:last]}
    if status == "stopped":
        record["stopped_by"] = "the server is gone; run it again"
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def _save_pairs(folder: Path) -> None:
    features = Features({**PAIR_FEATURES, **Comparer.features, "rejection": REJECTION})
    good = [pair("s1/b1", "s1/b2", (70.0, 61.0)), pair("s1/b2", "s1/b1", (62.0, 71.0))]
    for name, rows in (("comparisons", good), ("comparisons_rejected", [pair("s1/b1", "s9", None)])):
        columns = {column: [row.get(column) for row in rows] for column in features}
        Dataset.from_dict(columns, features=features).save_to_disk(folder / name)


def _save_values(folder: Path) -> None:
    steps: list[dict[str, Any]] = [{"number": n, "name": name} for n, name in enumerate(STEPS, 1)]
    steps[3]["rejected"] = {"wrong_count": 1}
    steps[7]["summary"] = {"by": "score", "allocate": "equal"}
    record = {"status": "complete", "started": "2001-01-01T00:00:00+00:00", "steps": steps}
    (folder / "run.json").write_text(json.dumps(record))
    entries = [
        {"tag": "odd", "canonical": None, "step": "frequency", "why": "fewer than 2 rows have it"},
        {"tag": "sums", "canonical": "addition", "step": "semantic", "why": "close to addition"},
    ]
    (folder / "tags.json").write_text(json.dumps({"entries": entries}))
    (folder / "clusters.json").write_text(json.dumps({"names": [["a"], ["b"], ["c"], ["d"], ["addition", "digits"]]}))
