"""How much each arm is trained on: as many rows, or as many learned tokens, as the arm with the fewest has."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ...rows import seed_for
from ...training.curated import content_digest
from ...training.record import read_json, write_json


@dataclass(frozen=True)
class Pool:
    """What an arm selected.

    Attributes:
        rows: With a response, in the run's order.
        tokens: Learned tokens of each row, as the training cuts it; a row with 0 teaches nothing and is never drawn.
        digest: Of the rows' texts.
    """

    arm: str
    rows: Dataset
    tokens: tuple[int, ...]
    digest: str

    @property
    def usable(self) -> list[int]:
        """Places of the rows that can be drawn."""
        return [place for place, count in enumerate(self.tokens) if count]


@dataclass(frozen=True)
class Subset:
    """Rows of an arm for one training.

    Attributes:
        places: In the pool, in the order in which they were drawn.
        tokens: Learned tokens of all of them.
    """

    places: tuple[int, ...]
    tokens: int


def budget_of(equal: str, pools: Sequence[Pool]) -> int | None:
    """What every arm gets: rows, or learned tokens; None for all that it selected.

    Args:
        equal: "rows", "tokens" or "as_selected".
        pools: All arms that have rows.
    """
    if equal == "rows":
        return min(len(pool.usable) for pool in pools)
    return min(sum(pool.tokens) for pool in pools) if equal == "tokens" else None


def draw(pool: Pool, equal: str, budget: int | None, seed: int) -> Subset:
    """The rows of one training: the first ones by a hash of seed and row, whatever their order in the run.

    With equal tokens the last row is taken if that brings the sum nearer to the budget, so that it is missed by half a
    row at most.
    """
    ids = pool.rows["id"]
    order = sorted(pool.usable, key=lambda place: (seed_for(seed, str(ids[place]), "fair subset"), str(ids[place])))
    if equal == "rows":
        order = order[:budget]
    elif equal == "tokens" and budget is not None:
        order = order[: _within([pool.tokens[place] for place in order], budget)]
    return Subset(tuple(order), sum(pool.tokens[place] for place in order))


def drawn_rows(pools: Sequence[Pool], equal: Sequence[str], seeds: Sequence[int]) -> dict[str, Dataset]:
    """Arm → the rows that some training of it draws."""
    found: dict[str, set[int]] = {pool.arm: set() for pool in pools}
    for name in equal:
        budget = budget_of(name, pools)
        for pool in pools:
            for seed in seeds:
                found[pool.arm].update(draw(pool, name, budget, seed).places)
    return {pool.arm: pool.rows.select(sorted(found[pool.arm])) for pool in pools}


def _within(tokens: Sequence[int], budget: int) -> int:
    """How many of these make a sum as near to the budget as can be, at least 1."""
    total = 0
    for number, count in enumerate(tokens):
        if total + count > budget:
            return max(1, number + (total + count - budget < budget - total))
        total += count
    return len(tokens)


def saved_subset(pool: Pool, subset: Subset, folder: Path) -> Mapping[str, Any]:
    """Save the rows as `data/` in a training's folder, unless these very rows are there.

    Returns:
        {rows, tokens, digest, key}, as in `subset.json`.
    """
    text = f"{pool.digest} {' '.join(map(str, subset.places))}"
    key, record = hashlib.sha256(text.encode()).hexdigest(), folder / "subset.json"
    there = read_json(record)
    if there.get("key") == key and (folder / "data" / "state.json").is_file():
        return there
    record.unlink(missing_ok=True)
    shutil.rmtree(folder / "data", ignore_errors=True)
    rows = pool.rows.select(subset.places)
    rows.save_to_disk(folder / "data")
    body = {"rows": len(rows), "tokens": subset.tokens, "digest": content_digest(rows), "key": key}
    write_json(record, body)
    return body
