"""What the tests of evolution share: seeds, a pool, and replies of each variant's form."""

from __future__ import annotations

import json
from typing import Any

from datasets import Dataset, Features, List, Value

from tagevol_hf.rows import ROW_FEATURES
from tagevol_hf.tags.pool import TagPool

POOL = TagPool({f"tag {number:02d}": {"aspect": 1} for number in range(60)})
TAGGED = Features({**ROW_FEATURES, "tags": List(Value("string"))})
GOOD = "Sort the list number 0 and prove that the order is stable."


def seeds(
    count: int = 4, tags: tuple[str, ...] = ("tag 00", "tag 01"), text: str = "", given: str = "3 1 2"
) -> Dataset:
    """Tagged seeds `s0` …; each asks to sort another list unless a text is given."""
    values = [
        {"id": f"s{place}", "instruction": text or f"Sort the list number {place}.", "input": given, "response": "old",
         "history": [], "rejection": None, "tags": list(tags)}
        for place in range(count)
    ]  # fmt: skip
    return Dataset.from_list(values, features=TAGGED)


def answer(variant: str, chosen: Any = (1, 2, 3), final: Any = GOOD, **others: Any) -> str:
    """A reply in the form of a variant."""
    body = {
        "chosen": list(chosen) if isinstance(chosen, tuple) else chosen,
        "plan": "p",
        "rewritten": final,
        "final": final,
    }
    left_out = {"paper": (), "release-math": ("rewritten",), "random": ("chosen",)}[variant]
    return json.dumps({**{key: value for key, value in body.items() if key not in left_out}, **others})
