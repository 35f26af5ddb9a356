"""The same seed under each arm, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..columns import tables
from ..evolved import KINDS, Rewrite, label_of, rewrite_of
from ..samples import open_rows
from ..words import Cut, cut

_SIDES, _SCAN = 18, 20_000  # how many rewrites are on the page, about

Place = tuple[Dataset, int, int]  # data set, row, budget or round


@dataclass(frozen=True)
class Side:
    """What an arm made of a seed.

    Attributes:
        rewrite: Its last accepted one, of the largest budget or round; None where none was accepted.
        reason: Why none was, where that is known.
    """

    arm: str
    rewrite: Rewrite | None
    reason: str = ""


@dataclass(frozen=True)
class Example:
    """One seed under all arms."""

    seed: Cut
    input: Cut
    sides: tuple[Side, ...]


def read_examples(folders: Mapping[str, Path]) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """A few seeds that as many arms as can be have accepted, spread over all such; and what could not be read."""
    notes: list[str] = []
    places = {arm: _places(folder, notes) for arm, folder in folders.items()}
    arms: dict[str, int] = defaultdict(int)
    for found in places.values():
        for seed in found:
            arms[seed] += 1
    most = max(arms.values(), default=0)
    full = [seed for seed in arms if arms[seed] == most]
    seeds = max(1, min(3, _SIDES // max(1, len(folders))))
    picked = [full[round(n * (len(full) - 1) / max(1, seeds - 1))] for n in range(seeds)] if full else []
    shown = dict.fromkeys(picked)
    lost = {arm: _reasons(folder, set(shown), notes) for arm, folder in folders.items()} if most < len(folders) else {}
    return tuple(_example(seed, places, lost) for seed in shown), tuple(dict.fromkeys(notes))


def _places(folder: Path, notes: list[str]) -> dict[str, Place]:
    """Seed → where its last accepted rewrite is."""
    found: dict[str, Place] = {}
    for name in ("selected", "not_chosen"):
        dataset = open_rows(folder / name, notes)
        rows = dataset.select(range(min(len(dataset), _SCAN))) if dataset else None
        for seed, number, place in _numbered(rows):
            if seed is not None and rows is not None and (seed not in found or found[seed][2] < number):
                found[seed] = rows, place, number
    return found


def _numbered(rows: Dataset | None) -> list[tuple[str | None, int, int]]:
    """(seed, budget or round, row); of rows that nothing evolved, (id, 0, row)."""
    columns = rows.column_names if rows else []
    kind = next((name for name in KINDS if name in columns), None)
    names = ("seed_id", kind) if kind and "seed_id" in columns else ("id",)
    found: list[tuple[str | None, int, int]] = []
    for table in tables(rows, *names):
        columns = [table.column(name).to_pylist() for name in names]
        numbers = columns[1] if len(columns) > 1 else [0] * len(columns[0])
        pairs = enumerate(zip(columns[0], numbers, strict=True), len(found))
        found += [(seed, number or 0, place) for place, (seed, number) in pairs]
    return found


def _reasons(folder: Path, seeds: set[str], notes: list[str]) -> dict[str, str]:
    """Seed → why its last rewrite was rejected."""
    found: dict[str, str] = {}
    rows = open_rows(folder / "rejected", notes)
    key = "seed_id" if rows and "seed_id" in rows.column_names else "id"
    for table in tables(rows, key, "rejection"):
        marks = zip(table.column(key).to_pylist(), table.column("rejection").to_pylist(), strict=True)
        found |= {seed: str(mark["reason"]) for seed, mark in marks if seed in seeds and mark}
    return found


def _example(seed: str, places: Mapping[str, Mapping[str, Place]], lost: Mapping[str, Mapping[str, str]]) -> Example:
    rows = {arm: (found[seed][0][found[seed][1]], found[seed][2]) for arm, found in places.items() if seed in found}
    first = next(iter(rows.values()))[0]
    seeds = (row["seed_instruction"] for row, _ in rows.values() if row.get("seed_instruction"))
    before = next(seeds, first["instruction"])
    sides = (
        Side(arm, _against(rows[arm][0], rows[arm][1], before))
        if arm in rows
        else Side(arm, None, lost.get(arm, {}).get(seed, ""))
        for arm in places
    )
    return Example(cut(before, 900), cut(first.get("input"), 300), tuple(sides))


def _against(row: Mapping[str, Any], number: int, seed: str) -> Rewrite:
    """A row with what is new against the seed, also where it was made from a later round."""
    kind = next((name for name in KINDS if name in row), "")
    return rewrite_of(label_of(kind, number) if kind else "", {**row, "parent_instruction": None}, True, seed)
