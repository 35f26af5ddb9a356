"""Diversity and difficulty by open tags, as Tag-Evol and as Auto Evol-Instruct count them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from datasets import Dataset

from ..rows import iterate, seed_for
from ..tags.taggers import OpenTagger

STEP = "measure"

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "difficulty": "Mean number of tags an instruction, over a seeded sample (Tag-Evol 5.5).",
        "diversity": "Number of different tag strings over that sample, not normalised (Tag-Evol 5.5).",
        "tagged": "Instructions of that sample that could be tagged (Tag-Evol 5.5 has 50).",
        "auto_evol_complexity": (
            "Mean number of tags an instruction, over a sample twice as large (Auto Evol-Instruct 5.5)."
        ),
        "auto_evol_diversity": (
            "Unique tags per instruction, averaged (Auto Evol-Instruct 5.5), read as: different tags over the larger "
            "sample, divided by its instructions; not to be compared with Tag-Evol's diversity."
        ),
        "auto_evol_tagged": "Instructions of the larger sample that could be tagged (Auto Evol-Instruct 5.5 has 100).",
    }
)


def ranked(ids: Sequence[str], seed: int) -> list[int]:
    """Places of the rows in the order in which samples take them: by a hash of (seed, id), whatever their order."""
    return sorted(range(len(ids)), key=lambda place: (seed_for(seed, ids[place], STEP), ids[place]))


def tag_sample(dataset: Dataset, places: Collection[int], tagger: OpenTagger) -> dict[int, list[str] | str]:
    """Ask the tagger about some rows: place → its tags, or the reason why it could not be tagged."""
    order = sorted(places)
    kept = [name for name in ("id", "instruction", "input", "history", "rejection") if name in dataset.column_names]
    tagged = tagger.apply(dataset.select_columns(kept).select(order))
    return {
        place: [part["tag"] for part in row["open_tags"]] if row["rejection"] is None else row["rejection"]["reason"]
        for place, row in zip(order, iterate(tagged.select_columns(["open_tags", "rejection"])), strict=True)
    }


def tag_evol_figures(tags: Sequence[Collection[str]]) -> dict[str, float]:
    """Tag-Evol's difficulty and diversity of the tags of each instruction; empty for none."""
    if not tags:
        return {}
    return {"difficulty": _mean(tags), "diversity": float(_different(tags)), "tagged": float(len(tags))}


def auto_evol_figures(tags: Sequence[Collection[str]]) -> dict[str, float]:
    """Auto Evol-Instruct's complexity and diversity of the tags of each instruction; empty for none."""
    if not tags:
        return {}
    return {
        "auto_evol_complexity": _mean(tags),
        "auto_evol_diversity": _different(tags) / len(tags),
        "auto_evol_tagged": float(len(tags)),
    }


def _mean(tags: Sequence[Collection[str]]) -> float:
    return sum(map(len, tags)) / len(tags)


def _different(tags: Sequence[Collection[str]]) -> int:
    return len({tag for own in tags for tag in own})
