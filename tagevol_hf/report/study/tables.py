"""The tables of a study's page: figures by arm, reasons, steps, what differs, what made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ..journey import STEPS
from ..measured import SHARES
from ..values import counts_of, list_of, mapping_of, number_of, whole_of
from ..words import cut, decimal, duration, percent, without_secrets

Arms = Sequence[Mapping[str, Any]]

# Columns of the first table, and of that of what was asked; all other figures are measures.
MAIN = {
    "rows_in": "Seeds",
    "accepted": "Accepted",
    "rejected_share": "Rejected",
    "calls": "Calls",
    "calls_per_instruction": "Calls a row",
    "longest_chain": "Chain",
    "difficulty": "Difficulty",
    "diversity": "Diversity",
    "reply_obedience": "Obedience",
}
COST = {
    "asked": "Asked",
    "stored": "From the store",
    "failed": "Failed",
    "evolution_calls": "For evolution",
    "evolved": "Evolved",
    "tokens": "Tokens",
    "evolution_tokens": "For evolution",
    "prompt_tokens": "Prompt tokens",
    "completion_tokens": "Completion tokens",
    "cost": "Cost",
    "seconds": "Time",
}
LABELS = {**MAIN, **COST, "obedience": "Obedience of the accepted rows"}
_ELSEWHERE = (*COST, "rows_in", "accepted", "rejected", "rejected_share", "calls", "calls_per_instruction",
              "longest_chain", "reply_obedience")  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of figures: columns as (label, meaning), and rows as (name, values, note)."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]


def name_of(arm: Mapping[str, Any]) -> str:
    """An arm's name."""
    return str(arm.get("name", ""))


def figure_of(arm: Mapping[str, Any], name: str) -> float | None:
    """A figure of an arm, or None."""
    return number_of(mapping_of(arm.get("figures")).get(name))


def said_as(name: str) -> Callable[[Any], str]:
    """In which form the values of a figure are read."""
    if name == "seconds":
        return duration
    return percent if any(part in name for part in SHARES) else decimal


def label_of(name: str) -> str:
    """A figure's name in words."""
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def table_of(columns: Mapping[str, str], arms: Arms, definitions: Mapping[str, str]) -> Table:
    """Figures of all arms; an arm that is not complete says why."""
    used = [name for name in columns if name in definitions]
    rows = (
        (
            name_of(arm),
            tuple(said_as(name)(figure_of(arm, name)) for name in used) if arm.get("status") == "complete" else (),
            ""
            if arm.get("status") == "complete"
            else f"{arm.get('status')}: {without_secrets(arm.get('message'))[:600]}",
        )
        for arm in arms
    )
    return Table(tuple((columns[name], definitions[name]) for name in used), tuple(rows))


def reasons_of(arms: Arms) -> Table:
    """Reasons in rows, the most frequent first; arms in columns."""
    counts = {name_of(arm): dict(counts_of(arm.get("rejected"))) for arm in arms if arm.get("status") != "not run"}
    sums: dict[str, int] = {}
    for found in counts.values():
        for reason, number in found.items():
            sums[reason] = sums.get(reason, 0) + number
    ranked = sorted(sums, key=lambda reason: (-sums[reason], reason))
    rows = ((reason, tuple(str(found.get(reason, 0)) for found in counts.values()), "") for reason in ranked)
    return Table(tuple((name, "") for name in counts), tuple(rows))


def measures_of(done: Arms, definitions: Mapping[str, str]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """The figures that no other table has."""
    rest = [name for name in definitions if name not in _ELSEWHERE]
    return tuple(
        (label_of(name), definitions[name], tuple(said_as(name)(figure_of(arm, name)) for arm in done)) for name in rest
    )


def steps_of(arms: Arms) -> Table:
    """Requests of each step by arm."""
    given = [arm for arm in arms if arm.get("steps")]
    calls = [
        {str(s.get("name")): whole_of(s.get("calls")) for s in map(mapping_of, list_of(arm.get("steps")))}
        for arm in given
    ]
    names = dict.fromkeys(name for found in calls for name, number in found.items() if number)
    rows = (
        (STEPS.get(name, (name, ""))[0], tuple(f"{found[name]:,}" if name in found else "–" for found in calls), "")
        for name in names
    )
    return Table(tuple((name_of(arm), "") for arm in given), tuple(rows))


def differences_of(given: Mapping[str, Any], done: Arms) -> Table:
    """Keys of the recipes in rows, finished arms in columns."""
    names = [name_of(arm) for arm in done]
    rows = (
        (str(key), tuple(_value(mapping_of(values).get(name)) for name in names), "") for key, values in given.items()
    )
    return Table(tuple((name, "") for name in names), tuple(rows))


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return cut(without_secrets(value), 160, 160).head
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return cut(without_secrets(text.removesuffix("...\n").strip()), 160, 160).head


def engines_of(done: Arms) -> tuple[tuple[str, str, str, str], ...]:
    """(what for, spec, identity, arms), one line for each different engine."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for arm in done:
        for role, engine in mapping_of(arm.get("engines")).items():
            spec, identity = (without_secrets(mapping_of(engine).get(key)) for key in ("spec", "identity"))
            found.setdefault((str(role).replace("_", " "), spec, identity), []).append(name_of(arm))
    return tuple(
        (*key, "all" if len(names) == len(done) else ", ".join(names))
        for key, names in sorted(found.items(), key=lambda item: item[0][0])
    )


def made_of(arms: Arms, recipes: Mapping[str, Any]) -> Table:
    """Recipe, changes and digest of each arm."""
    rows = []
    for arm in arms:
        recipe = mapping_of(recipes.get(name_of(arm)))
        changes = " · ".join(without_secrets(text) for text in list_of(recipe.get("set")))
        file = without_secrets(recipe.get("recipe") or arm.get("folder"))
        seeds = mapping_of(arm.get("seeds"))
        texts = (
            file,
            cut(changes, 400, 400).head or "–",
            str(arm.get("digest") or "–"),
            str(seeds.get("digest") or "–"),
        )
        rows.append((name_of(arm), texts, ""))
    columns = ("Recipe" if recipes else "Run folder", "Changed in it", "Recipe digest", "Seeds digest")
    return Table(tuple((name, "") for name in columns), tuple(rows))
