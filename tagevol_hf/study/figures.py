"""The figures of one run, each with what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..measure import reply_obedience
from ..recipe_steps import EVOLUTIONS

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "rows_in": "Seeds that were read.",
        "accepted": "Rows that no step rejected, chosen or not.",
        "rejected": "Rows that a step rejected; each is kept with its reason.",
        "rejected_share": "Rejected rows, divided by the rows read and those that evolution added.",
        "calls": "Requests of all steps: those that an engine answered and those that the store had answered before.",
        "asked": "Requests that an engine answered in this run.",
        "stored": "Requests that the store answered, because this or another arm had asked the same.",
        "failed": "Requests that ended without a reply.",
        "evolved": "Instructions that the step of evolution accepted.",
        "evolution_calls": (
            "Requests of the step of evolution, replies that were asked again and its elimination among them, "
            "asked or from the store."
        ),
        "calls_per_instruction": "Requests of the step of evolution, divided by the instructions that it accepted.",
        "longest_chain": (
            "Evolution requests of which each needs the reply of the one before: 1 where all start from the seed, "
            "the number of rounds where each round starts from the last. Repeats and elimination are not counted."
        ),
        "reply_obedience": (
            "Share of the readable replies of Tag-Evol that chose exactly b different candidates, none of them a tag "
            "of the seed; rejected replies and those that were asked again count as well."
        ),
        "tokens": "Tokens of all prompts and replies, also of those that the store had.",
        "evolution_tokens": "Likewise, of the step of evolution alone.",
        "prompt_tokens": "Tokens of the prompts that an engine answered in this run, without those of the store.",
        "completion_tokens": "Tokens of their replies.",
        "cost": "At the recipe's prices.",
        "seconds": "Wall time of the run.",
    }
)


def figures_of(run: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a finished run.

    Args:
        run: What run.json holds.
        recipe: Its recipe as plain values; the rounds are read from it.
    """
    totals, steps = run["totals"], run["steps"]
    rejected, whole = sum(totals["rejected"].values()), totals["read"] + totals["added"]
    figures = {
        "rows_in": totals["read"],
        "accepted": totals["selected"] + totals["not_chosen"],
        "rejected": rejected,
        "rejected_share": rejected / whole if whole else 0.0,
        "calls": totals["asked"] + totals["stored"],
        "asked": totals["asked"],
        "stored": totals["stored"],
        "failed": sum(sum(step["failed"].values()) for step in steps),
        **_evolution(steps, recipe),
        "tokens": _tokens(totals),
        "prompt_tokens": totals["prompt_tokens"],
        "completion_tokens": totals["completion_tokens"],
        "seconds": run["seconds"],
    }
    return figures | ({"cost": totals["cost"]} if totals.get("cost") else {})


def _tokens(entry: Mapping[str, Any]) -> int:
    return sum(entry.get(name, 0) for name in ("prompt_tokens", "completion_tokens", "stored_tokens"))


def _evolution(steps: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> dict[str, float]:
    """The figures of the step of evolution; empty for a run without one."""
    step = next((step for step in steps if step["name"] in EVOLUTIONS), None)
    if step is None:
        return {}
    calls, evolved = step["asked"] + step["stored"], step["rows_out"]
    found = {"evolved": evolved, "evolution_calls": calls, "longest_chain": _chain(step["name"], recipe)}
    found["evolution_tokens"] = _tokens(step)
    found |= {"calls_per_instruction": calls / evolved} if evolved else {}
    if step["name"] == "tag_evol":
        kept = reply_obedience(evolved, step["redrawn"], step["rejected"]).share
        found |= {"reply_obedience": kept} if kept is not None else {}
    return found


def _chain(name: str, recipe: Mapping[str, Any]) -> int:
    options = next((entry[name] for entry in recipe.get("steps", ()) if name in entry), None) or {}
    return int(options.get("rounds", 1))
