"""What the page shows of evolution: a few seeds with all that became of them, by budget or by round."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from .columns import numbers, tables, texts
from .words import Cut, changes, cut, plural

_SEEDS, _SCAN = 4, 20_000
KINDS = ("budget", "round")  # the column that tells the rewrites of a seed apart


@dataclass(frozen=True)
class Rewrite:
    """One evolved instruction.

    Attributes:
        label: Its budget or round in words.
        pieces: (text, new against what it was made from), if short enough to compare.
        chips: Tags that were woven in, or the operator.
        faults: What a review found.
        selected: Whether it is in the curated set.
    """

    label: str
    pieces: tuple[tuple[str, bool], ...]
    text: Cut
    chips: tuple[str, ...]
    plan: Cut
    faults: tuple[str, ...]
    selected: bool


@dataclass(frozen=True)
class Example:
    """A seed and what became of it."""

    seed_id: str
    seed: Cut
    input: Cut
    rewrites: tuple[Rewrite, ...]


@dataclass(frozen=True)
class Evolved:
    """All examples, and how many rows each budget or round has: (label, rows, chosen, mean words).

    Attributes:
        kind: "budget", "round", or "" where nothing was evolved.
    """

    kind: str
    examples: tuple[Example, ...]
    counts: tuple[tuple[str, int, int, float], ...]


def read_evolved(chosen: Dataset | None, other: Dataset | None) -> Evolved:
    """Read it from the curated rows and the others, each of which may be missing."""
    columns = {name for dataset in (chosen, other) if dataset for name in dataset.column_names}
    kind = next((name for name in KINDS if name in columns), "")
    if not kind:
        return Evolved("", (), ())
    taken, left = (Counter(int(value) for value in numbers(dataset, kind)) for dataset in (chosen, other))
    words = _words(kind, chosen, other)
    counts = tuple(
        (label_of(kind, n), taken[n] + left[n], taken[n], words[n] / (taken[n] + left[n])) for n in sorted(taken | left)
    )
    return Evolved(kind, _examples(kind, chosen, other), counts)


def _words(kind: str, chosen: Dataset | None, other: Dataset | None) -> Counter[int]:
    """Words of all instructions, by budget or round."""
    found: Counter[int] = Counter()
    for dataset in (chosen, other):
        for table in tables(dataset, kind, "instruction"):
            texts_of, numbers_of = (table.column(name).to_pylist() for name in ("instruction", kind))
            for number, text in zip(numbers_of, texts_of, strict=True):
                if number is not None:
                    found[int(number)] += len((text or "").split())
    return found


def label_of(kind: str, number: int) -> str:
    """A budget or a round in words."""
    return plural(number, "tag") if kind == "budget" else f"round {number}"


def _examples(kind: str, chosen: Dataset | None, other: Dataset | None) -> tuple[Example, ...]:
    """A few seeds of which every budget or round can be shown, spread over all such seeds."""
    places: dict[str, dict[int, tuple[Dataset, int, bool]]] = defaultdict(dict)
    for dataset in (chosen, other):
        found = dataset.select(range(min(len(dataset), _SCAN))) if dataset else None
        place = 0
        for table in tables(found, "seed_id", kind, "seed_instruction"):
            for seed, number in zip(table.column("seed_id").to_pylist(), table.column(kind).to_pylist(), strict=True):
                if seed is not None and number is not None:
                    places[seed].setdefault(number, (dataset, place, dataset is chosen))
                place += 1
    most = max(map(len, places.values()), default=0)
    full = [seed for seed in places if len(places[seed]) == most]
    proud = [seed for seed in full if any(is_selected for _, _, is_selected in places[seed].values())]
    full = proud if len(proud) >= _SEEDS else full
    picked = [full[round(n * (len(full) - 1) / max(1, _SEEDS - 1))] for n in range(_SEEDS)] if full else []
    return tuple(_example(kind, seed, places[seed]) for seed in dict.fromkeys(picked))


def _example(kind: str, seed: str, places: Mapping[int, tuple[Dataset, int, bool]]) -> Example:
    rows = [(number, dataset[place], selected) for number, (dataset, place, selected) in sorted(places.items())]
    first = rows[0][1]
    before = str(first.get("seed_instruction") or "")
    rewrites = (rewrite_of(label_of(kind, number), row, selected, before) for number, row, selected in rows)
    return Example(seed, cut(before, 900), cut(first.get("input"), 300), tuple(rewrites))


def rewrite_of(label: str, row: Mapping[str, Any], selected: bool, seed: str) -> Rewrite:
    """One evolved row for the page, compared with its parent or else its seed."""
    shown = cut(row.get("instruction"), 900)
    before = str(row.get("parent_instruction") or seed)
    pieces = () if shown.rest else tuple(changes(before, shown.head))
    chips = texts(row.get("chosen_tags")) or texts([str(row.get("operator") or "").replace("_", " ")])
    return Rewrite(label, pieces, shown, chips, cut(row.get("plan"), 4000), tuple(_faults(row)), selected)


def _faults(row: Mapping[str, Any]) -> list[str]:
    """What a review found, one line each."""
    if row.get("integrated_tags") is None and row.get("core_kept") is None:
        return []
    missing = [tag for tag in row.get("chosen_tags") or () if tag not in (row.get("integrated_tags") or ())]
    found = [f"“{tag}” does not shape it" for tag in texts(missing)]
    found += ["its core task is another one"] if row.get("core_kept") is False else []
    return found + [f"out of nowhere: {text}" for text in texts(row.get("hallucinated"))]
