"""What a data set's card tells, from provenance.json and the files of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ..recipe_steps import EVOLUTIONS
from ..report.measured import read_measures
from ..report.words import decimal, duration, percent
from ..rows import REASONS
from ..training.card_text import Ready, code, plain
from .layout import CONFIGS
from .licences import Used

_ABOUT = {
    "selected": "the curated rows",
    "evolved": "every evolved instruction that was not rejected, with its answer, selected or not",
    "tags": "the tags: of the pool that evolution draws from, and of the rows, before and after normalisation",
    "comparisons": "the pairs that the judge compared, with its marks and words",
    "rejected": "the rows that left on the way, each with the reason",
}


def opening(provenance: Mapping[str, Any], sources: Sequence[Used]) -> str:
    """What the set is, in a sentence or two."""
    totals, names = provenance["totals"], [_linked(source) for source in sources if source.name]
    source = f" from {' and '.join(names)}" if names else ""
    added = totals.get("added") or 0
    grew = f", which became {totals['read'] + added:,}" if added else ""
    return Ready(
        f"{totals['selected']:,} instructions, made with tagevol_hf out of {totals['read']:,} read{source}{grew}: "
        f"{totals['not_chosen']:,} were not chosen, {sum(totals['rejected'].values()):,} rejected."
    )


def why(provenance: Mapping[str, Any]) -> str:
    """What the methods are for, in a sentence each."""
    steps = {step["name"] for step in provenance["steps"]}
    told = []
    if "tag_evol" in steps:
        told.append(
            "Each seed was made harder by weaving in knowledge tags that it did not have "
            "([Tag-Evol](https://arxiv.org/abs/2505.24165))."
        )
    elif steps & set(EVOLUTIONS):
        told.append("Each seed was made harder by rewriting it in rounds.")
    if {"cluster", "compare", "select"} <= steps:
        told.append(
            "Answers were compared in pairs inside clusters of like subjects, and the best of each cluster taken, so "
            "that a small set is good and still covers all subjects ([TACOS](https://arxiv.org/abs/2507.03673))."
        )
    elif "baseline" in steps:
        told.append("The rows were selected by a way that TACOS is compared with; the recipe names it.")
    return Ready(" ".join(told))


def config_rows(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configs with their rows."""
    configs = provenance["configs"]
    return [
        {"name": code(name), "rows": f"{configs[name]['rows']:,}", "about": _ABOUT[name]}
        for name in CONFIGS
        if name in configs
    ]


def column_rows(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the columns of the rows hold; those of the source itself have no meaning here, and stand last."""
    meanings: Mapping[str, str] = yaml.safe_load(
        resources.files(__package__).joinpath("columns.yaml").read_text("utf-8")
    )
    configs = provenance["configs"]
    there = dict.fromkeys(
        name
        for config in ("selected", "evolved", "rejected")
        if config in configs
        for name in configs[config]["features"]
    )
    known = [(code(name), meanings[name]) for name in meanings if name in there]
    return [*known, *((code(name), "of the source, unchanged") for name in there if name not in meanings)]


def step_rows(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each step did with the rows."""
    return [
        {
            "name": code(step["name"]),
            **{name: f"{step.get(name) or 0:,}" for name in ("rows_in", "added", "not_chosen", "rows_out")},
            "rejected": f"{sum((step.get('rejected') or {}).values()):,}",
        }
        for step in provenance["steps"]
    ]


def reason_rows(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Why rows were rejected, the most frequent reason first."""
    counts = sorted(provenance["totals"]["rejected"].items(), key=lambda item: (-item[1], item[0]))
    return [
        {"reason": code(reason), "rows": f"{rows:,}", "about": REASONS.get(reason, "")}
        for reason, rows in counts
        if rows
    ]


def made_facts(provenance: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """How the run was made: labels and values that are known."""
    recipe, tokens = provenance["recipe"], provenance["tokens"]
    facts: list[tuple[str, Any]] = [("recipe's digest", code(recipe["digest"]))]
    if recipe["ran"] != recipe["digest"]:
        why_other = "(places and keys were taken out of the text below)"
        facts.append(("digest of the recipe that ran", Ready(f"{code(recipe['ran'])} {why_other}")))
    facts += [("run", code(provenance["run"])), ("started", provenance["started"]), ("seed", provenance["seed"])]
    facts.append(("requests", f"{tokens['asked']:,} asked, {tokens['stored']:,} answered from the store"))
    facts.append(("prompt tokens", f"{tokens['prompt_tokens']:,}, of which {tokens['cached_tokens']:,} were cached"))
    facts.append(("completion tokens", f"{tokens['completion_tokens']:,}"))
    facts.append(("took", duration(provenance["seconds"]) if provenance["seconds"] else None))
    facts.append(("cost, at the recipe's prices", decimal(provenance["cost"]) if provenance["cost"] else None))
    return [(label, value) for label, value in facts if value not in (None, "")]


_QUALITY = {
    "labels": "labels of the rows",
    "silhouette": "silhouette of the clusters' labels, from −1 to 1",
    "similarity_inside": "mean cosine of rows inside a cluster",
    "similarity_random": "the same in random groups",
    "biggest_share": "share of the rows in the largest cluster",
}


def diversity_facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Tags, labels and clusters in figures."""
    said = {step["name"]: step.get("summary") or {} for step in provenance["steps"]}
    pool, names, clusters = (said.get(step, {}) for step in ("tag_pool", "normalize_tags", "cluster"))
    facts = [
        ("tags in the pool", pool.get("tags")),
        ("different tags of the rows, as they were written", names.get("raw_tags")),
        ("labels after normalisation", names.get("names")),
        ("clusters", clusters.get("k")),
        *((label, (clusters.get("quality") or {}).get(name)) for name, label in _QUALITY.items()),
    ]
    return [
        (label, f"{value:,}" if isinstance(value, int) else decimal(value))
        for label, value in facts
        if value is not None
    ]


def measures(file: Path) -> dict[str, Any] | None:
    """The table of the step `measure`; None where there is none."""
    found = read_measures(file)
    if found is None:
        return None
    groups = ["all rows" if group == "all" else group for group in found.groups]
    table = [
        _line(f"measured on {found.rows:,} rows", groups),
        Ready("|---|" + "---:|" * len(groups)),
        *(_line(figure.name, figure.values) for figure in found.figures),
    ]
    return {"table": table, "meanings": [(one.name, one.meaning) for one in found.figures if one.meaning]}


_JUDGE = (
    ("n", "comparisons with a score", "count"),
    ("missing", "comparisons without one", "count"),
    ("both_orders", "pairs judged in both orders", "count"),
    ("flip_rate", "of these, verdicts that change with the order", "share"),
    ("tie_rate", "comparisons that give both the same score", "share"),
    ("judge_position_bias", "leaning to the first place, from −1 to 1", "figure"),
    ("length_bias", "decided pairs that the longer answer wins (half where length has no effect)", "share"),
    ("transitivity", "threes that are no circle (three quarters by chance)", "share"),
    ("agreement_with_single", "Kendall's τ with single scores, from −1 to 1", "figure"),
)


def judge_facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How far the comparisons can be relied upon."""
    said = next((step.get("summary") or {} for step in provenance["steps"] if step["name"] == "compare"), {})
    return [(label, _said(said[name], kind)) for name, label, kind in _JUDGE if said.get(name) is not None]


def contamination(provenance: Mapping[str, Any], listed: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the step `decontaminate` found; None where there is no such step.

    Args:
        provenance: Of the run.
        listed: Content of contamination.json, for the number of questions; may be empty.
    """
    said = next((step.get("summary") for step in provenance["steps"] if step["name"] == "decontaminate"), None)
    if not said:
        return None
    done = "were rejected" if said.get("action") == "reject" else "were found and left in"
    words = f"Of {said['rows']:,} rows, {said['contaminated']:,} with a benchmark's question in them {done}."
    questions = listed.get("questions") or {}
    rows = [
        {"name": name, "questions": f"{questions[name]:,}" if name in questions else "–", "found": f"{found:,}"}
        for name, found in said["by_reference"].items()
    ]
    return {"words": f"{words}{_rule(listed.get('rule') or {})}", "rows": rows}


def earlier_rows(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The earlier runs whose rows are still in the set."""
    return [
        {
            "run": code(run),
            "name": part.get("name", ""),
            "digest": code((part.get("recipe") or {}).get("digest", "")),
            "started": part.get("started", ""),
        }
        for run, part in provenance.get("earlier", {}).items()
    ]


def _said(value: float, kind: str) -> str:
    return f"{value:,}" if kind == "count" else percent(value) if kind == "share" else decimal(value)


def _rule(rule: Mapping[str, Any]) -> str:
    if not rule:
        return ""
    grams = " or ".join(map(str, rule["n"]))
    near = f", or {percent(rule['near'])} of its words in their order and close together" if rule.get("near") else ""
    return f" A row counts that has {percent(rule['share'])} of a question's {grams}-grams of words{near}."


def _linked(source: Used) -> str:
    place = f"https://huggingface.co/datasets/{source.name}"
    return f"[{plain(source.name)}]({place})" if source.on_hub else code(source.name)


def _line(first: str, cells: Iterable[str]) -> str:
    return Ready("| " + " | ".join(plain(cell) for cell in (first, *cells)) + " |")
