"""Rows in clusters, as comparisons take them."""

import json

from datasets import Dataset, Features, Value

from tagevol_hf.rows import ROW_FEATURES
from tagevol_hf.selection.marks import DIMENSIONS

CLUSTERED = Features({**ROW_FEATURES, "cluster": Value("int64"), "nearest_other": Value("int64")})


def clustered(*numbers, near=None, responses=None, ids=None):
    """Rows r0, r1, … in the given clusters; `near` says which other cluster is nearest to each cluster."""
    count = len(numbers)
    return Dataset.from_dict(
        {
            "id": ids or [f"r{place}" for place in range(count)],
            "instruction": [f"ask {place}" for place in range(count)],
            "input": ["more" if place == 1 else "" for place in range(count)],
            "response": responses or [f"answer {place}" for place in range(count)],
            "history": [[] for _ in range(count)],
            "rejection": [None] * count,
            "cluster": list(numbers),
            "nearest_other": [(near or {}).get(number) for number in numbers],
        },
        features=CLUSTERED,
    )


def met(planned):
    """Which rows each row meets."""
    found = {}
    for row in planned:
        found.setdefault(row["first_id"], set()).add(row["second_id"])
        found.setdefault(row["second_id"], set()).add(row["first_id"])
    return found


def answer(first, second):
    """The reply of a judge that gives all marks of an item the same."""
    marks = {"first": dict.fromkeys(DIMENSIONS, first), "second": dict.fromkeys(DIMENSIONS, second)}
    return json.dumps({"analysis": " why ", **marks})
