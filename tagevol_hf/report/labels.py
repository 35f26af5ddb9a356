"""The tag normaliser for the page: each raw tag with what became of it, each label with what went into it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .values import list_of, mapping_of, read_json, whole_of
from .words import cut

_RAW, _LABELS, _MERGED = 2000, 1000, 6  # raw tags and labels on the page; tags shown that went into each label

# Step of the normaliser → what it did with raw tags, and with one of them.
_STEPS = {
    "kept": ("kept as labels", ""),
    "frequency": ("too rare", "too rare"),
    "rule": ("the same but for case, signs or inflection", "the same but for case, signs or inflection"),
    "semantic": ("near another by its vector", "near by its vector"),
    "association": ("nearly always with another", "nearly always with it"),
}


@dataclass(frozen=True)
class Raw:
    """One tag before normalisation: how often it occurs, the label that it became ("" for none), and by what."""

    tag: str
    count: int
    label: str
    how: str


@dataclass(frozen=True)
class Label:
    """One label: how often its tags occur, and the most frequent tags that went into it, each with the reason."""

    name: str
    count: int
    merged: tuple[tuple[str, str], ...]
    more: int


@dataclass(frozen=True)
class Labels:
    """The table of a normaliser: numbers of raw tags and of labels, and the most frequent ones of both."""

    raw: int
    names: int
    steps: tuple[tuple[str, int], ...]
    before: tuple[Raw, ...]
    after: tuple[Label, ...]


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
    told = tuple((many, steps[step]) for step, (many, _) in _STEPS.items() if steps[step])
    after = tuple(_label(name, counts[name], merged[name]) for name in largest)
    return Labels(len(entries), len(counts), told, tuple(map(_raw, _ranked(entries)[:_RAW])), after)


def _ranked(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(entries, key=lambda entry: (-whole_of(entry.get("count")), str(entry.get("tag"))))


def _raw(entry: Mapping[str, Any]) -> Raw:
    label = name if isinstance(name := entry.get("canonical"), str) else ""
    step = str(entry.get("step"))
    _, how = _STEPS.get(step, ("", step[:40]))
    return Raw(_cut(entry.get("tag")), whole_of(entry.get("count")), _cut(label), how)


def _label(name: str, count: int, merged: list[Mapping[str, Any]]) -> Label:
    shown = ((_cut(entry.get("tag")), str(entry.get("why") or "")[:200]) for entry in _ranked(merged)[:_MERGED])
    return Label(_cut(name), count, tuple(shown), max(0, len(merged) - _MERGED))


def _cut(tag: Any) -> str:
    return cut(str(tag), 80).head
