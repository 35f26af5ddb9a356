"""Run folders as the pipeline leaves them, and the scripts as modules."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from datasets import Dataset

from tagevol_hf.rows import ROW_FEATURES

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "quickstart" / "sft-tiny.yaml"


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"r/{number}",
        "instruction": f"Add {number} and {number % 7}.",
        "input": f"First: {number}" if number % 3 == 0 else "",
        "response": f"The sum is {number + number % 7}.",
        "history": [],
        "rejection": None,
        **changes,
    }


def save_run(folder: Path, selected: list[dict[str, Any]], not_chosen: list[dict[str, Any]]) -> Path:
    for name, rows in (("selected", selected), ("not_chosen", not_chosen), ("rejected", [])):
        columns = {column: [each[column] for each in rows] for column in ROW_FEATURES}
        Dataset.from_dict(columns, features=ROW_FEATURES).save_to_disk(folder / name)
    (folder / "recipe.yaml").write_text("name: test\n")
    (folder / "run.json").write_text(json.dumps({"status": "complete"}))
    return folder


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
