"""Rules for the prompts that evolve: chosen tags are woven in by set phrases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from ..base import Request
from .text import phrases_of, section, words_of

_WEAVES = (
    "Work {} into the result.",
    "Take {} into account.",
    "Let {} matter as well.",
    "Meet a further condition that comes from {}.",
    "Let {} change the outcome.",
    "Cover one special case to do with {}.",
)
_ENDS = (
    "Justify each step.",
    "Name one limit of the result.",
    "Compare two ways and choose one.",
    "Say what would change on a smaller scale.",
    "Give a short check at the end.",
)


def tag_evol(prompt: str, request: Request) -> str:
    """One set phrase for each of b tags, drawn from the request."""
    candidates = _candidates(prompt, "candidates")
    chosen = _drawn(candidates, request)
    final = _woven(section(prompt, "instruction"), [candidates[number - 1] for number in chosen], request)
    plan = _plan([candidates[number - 1] for number in chosen])
    return json.dumps({"chosen": chosen, "plan": plan, "rewritten": final, "final": final}, ensure_ascii=False)


def tag_evol_from_scratch(prompt: str, request: Request) -> str:
    """A set sentence about the seed's own tags, and the phrases of b chosen ones."""
    candidates = _candidates(prompt, "candidates")
    chosen = _drawn(candidates, request)
    tags = [candidates[number - 1] for number in chosen]
    final = _woven(f"Set and solve a task about {section(prompt, 'own_tags')}.", tags, request)
    return json.dumps({"chosen": chosen, "plan": _plan(tags), "final": final}, ensure_ascii=False)


def tag_evol_given(prompt: str, request: Request) -> str:
    """One set phrase for each given tag."""
    tags = _candidates(prompt, "tags")
    final = _woven(section(prompt, "instruction"), tags, request)
    return json.dumps({"plan": _plan(tags), "rewritten": final, "final": final}, ensure_ascii=False)


def evol_instruct(prompt: str, request: Request) -> str:
    """A set phrase about one of the instruction's own key phrases."""
    return json.dumps({"final": _harder(section(prompt, "instruction"), request)}, ensure_ascii=False)


def auto_evol(prompt: str, request: Request) -> str:
    """Likewise, whatever the method says."""
    final = _harder(section(prompt, "instruction"), request)
    return json.dumps({"work": "One sentence was added.", "final": final}, ensure_ascii=False)


def evol_equality(prompt: str, request: Request) -> str:
    """Equal where the second has no content word that the first lacks."""
    first, second = (set(words_of(section(prompt, f"{place}_instruction"))) for place in ("first", "second"))
    more = sorted(second - first)
    return json.dumps({"difference": ", ".join(more)[:300], "equal": not more}, ensure_ascii=False)


def trajectory_analysis(prompt: str, request: Request) -> str:
    """Every case is taken for a good one."""
    return json.dumps({"failures": [], "feedback": "By rule: each stage is longer than the one before."})


def method_optimization(prompt: str, request: Request) -> str:
    """The method as it is, with one more step in the middle."""
    steps = [line.partition(". ")[2] or line for line in section(prompt, "method").splitlines() if line.strip()]
    steps.insert(max(0, len(steps) - 1), "Read the plan again and drop what is only wordy.")
    return json.dumps({"method": "\n".join(f"{place}. {step}" for place, step in enumerate(steps, 1))[:6000]})


def review(prompt: str, request: Request) -> str:
    """A tag is in it where its name is; the task is kept where half of the seed's content words are."""
    seed, evolved = (set(words_of(section(prompt, name))) for name in ("seed", "instruction"))
    text = section(prompt, "instruction").lower()
    integrated = [tag.lower() in text for tag in _candidates(prompt, "tags")]
    kept = 2 * len(seed & evolved) >= len(seed)
    return json.dumps({"integrated": integrated, "core_kept": kept, "hallucinated": []})


def _harder(text: str, request: Request) -> str:
    random = Random(request.key("harder"))
    weave = random.choice(_WEAVES).format(random.choice(phrases_of(text, 8)))
    return f"{text.rstrip()} {weave} {random.choice(_ENDS)}"


def _candidates(prompt: str, name: str) -> list[str]:
    return [line.partition(". ")[2] for line in section(prompt, name).splitlines()]


def _drawn(candidates: Sequence[str], request: Request) -> list[int]:
    """As many numbers as the schema demands."""
    budget = (request.schema or {})["properties"]["chosen"]["minItems"]
    return sorted(Random(request.key("builtin")).sample(range(1, len(candidates) + 1), budget))


def _woven(text: str, tags: Sequence[str], request: Request) -> str:
    weaves = Random(request.key("weaves")).sample(_WEAVES, min(len(tags), len(_WEAVES)))
    return " ".join([text.rstrip(), *(weaves[place % len(weaves)].format(tag) for place, tag in enumerate(tags))])


def _plan(tags: Sequence[str]) -> str:
    return f"Add one sentence for each of: {', '.join(tags)}."
