"""The tag normaliser for the page: what each step did, and the largest labels with what went into them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import list_of, mapping_of, read_json, whole_of
from .words import cut

_LABELS, _MERGED = 15, 6  # labels shown; tags shown that went into each

# Step of the normaliser → what it did with a raw tag.
_STEPS = {
    "kept": "kept as labels",
    "frequency": "too rare",
    "rule": "the same but for case, signs or inflection",
    "semantic": "near another by its vector",
    "association": "nearly always with another",
}


@dataclass(frozen=True)
class Label:
    """One label: how often its tags occur, and the most frequent tags that went into it, each with the reason."""

    name: str
    count: int
    merged: tuple[tuple[str, str], ...]
    more: int


@dataclass(frozen=True)
class Labels:
    """The table of a normaliser: number of raw tags by what became of them, and the largest labels."""

    raw: int
    steps: tuple[tuple[str, int], ...]
    largest: tuple[Label, ...]


def read_labels(file: Path) -> Labels | None:
    """Read `tags.json`; None where there is none."""
    entries = [mapping_of(entry) for entry in list_of(read_json(file).get("entries"))]
    if not entries:
        return None
    steps = Counter(str(entry.get("step")) for entry in entries)
    counts: Counter[str] = Counter()
    merged: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if isinstance(name := entry.get("canonical"), str):
            counts[name] += whole_of(entry.get("count"))
            if entry.get("step") != "kept":
                merged[name].append(entry)
    largest = sorted(counts, key=lambda name: (-counts[name], name))[:_LABELS]
    told = tuple((said, steps[step]) for step, said in _STEPS.items() if steps[step])
    return Labels(len(entries), told, tuple(_label(name, counts[name], merged[name]) for name in largest))


def _label(name: str, count: int, merged: list[Mapping[str, Any]]) -> Label:
    ranked = sorted(merged, key=lambda entry: (-whole_of(entry.get("count")), str(entry.get("tag"))))
    shown = ((cut(str(entry.get("tag")), 80).head, str(entry.get("why") or "")[:200]) for entry in ranked[:_MERGED])
    return Label(cut(name, 80).head, count, tuple(shown), max(0, len(merged) - _MERGED))
