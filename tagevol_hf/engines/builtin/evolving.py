"""Rules for the prompts that evolve: chosen tags are woven in by set phrases."""

from __future__ import annotations

import json
from random import Random

from ..base import Request
from .text import section

_WEAVES = (
    "Work {} into the result.",
    "Take {} into account.",
    "Let {} matter as well.",
    "Meet a further condition that comes from {}.",
    "Let {} change the outcome.",
    "Cover one special case to do with {}.",
)


def tag_evol(prompt: str, request: Request) -> str:
    """One set phrase for each of b tags, drawn from the request."""
    instruction = section(prompt, "instruction")
    candidates = [line.partition(". ")[2] for line in section(prompt, "candidates").splitlines()]
    budget = (request.schema or {})["properties"]["chosen"]["minItems"]
    random = Random(request.key("builtin"))
    chosen = sorted(random.sample(range(1, len(candidates) + 1), budget))
    weaves = random.sample(_WEAVES, min(budget, len(_WEAVES)))
    woven = [weaves[place % len(weaves)].format(candidates[number - 1]) for place, number in enumerate(chosen)]
    final = " ".join([instruction.rstrip(), *woven])
    plan = "Add one sentence for each of: " + ", ".join(candidates[number - 1] for number in chosen) + "."
    return json.dumps({"chosen": chosen, "plan": plan, "rewritten": final, "final": final}, ensure_ascii=False)
