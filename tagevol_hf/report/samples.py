"""What the page shows of the data sets: counts over single columns, and the few rows read in full."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, load_from_disk

from .columns import numbers, tables, texts
from .evolved import Evolved, read_evolved
from .figures import Bin, histogram
from .values import read_json
from .words import Cut, cut, without_secrets

_SELECTED, _PER_REASON, _CLUSTERS = 20, 3, 24


@dataclass(frozen=True)
class Chosen:
    """One selected row."""

    id: str
    instruction: Cut
    input: Cut
    response: Cut
    tags: tuple[str, ...]
    labels: tuple[str, ...]
    why: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Rejected:
    """One rejected row."""

    id: str
    instruction: Cut
    stage: str
    detail: Cut
    raw: Cut
    attempts: int | None


@dataclass(frozen=True)
class Cluster:
    """One cluster: how many rows competed in it, and how many of them were chosen."""

    number: str
    name: str
    size: int
    chosen: int


@dataclass(frozen=True)
class Rows:
    """The data sets of a run in the size of a page."""

    evolved: Evolved
    clusters: tuple[Cluster, ...]
    more_clusters: int
    scores: tuple[Bin, ...]
    selected: tuple[Chosen, ...]
    selected_rows: int
    rejected: Mapping[str, tuple[Rejected, ...]]
    notes: tuple[str, ...]


def read_rows(folder: Path) -> Rows:
    """Read what the page shows of `selected`, `not_chosen` and `rejected`, each of which may be missing."""
    notes: list[str] = []
    chosen, other, lost = (open_rows(folder / name, notes) for name in ("selected", "not_chosen", "rejected"))
    clusters = _clusters(chosen, other, _cluster_names(folder / "clusters.json"))
    return Rows(
        evolved=read_evolved(chosen, other),
        clusters=tuple(clusters[:_CLUSTERS]),
        more_clusters=max(0, len(clusters) - _CLUSTERS),
        scores=tuple(histogram(numbers(chosen, "score"), numbers(other, "score"))),
        selected=tuple(_chosen(row) for row in _first(chosen, _SELECTED)),
        selected_rows=len(chosen) if chosen else 0,
        rejected=_rejected(lost),
        notes=tuple(notes),
    )


def open_rows(folder: Path, notes: list[str]) -> Dataset | None:
    """A saved data set; None, and a note, where it cannot be read."""
    if not folder.is_dir() or read_json(folder / "state.json").get("_data_files") == []:
        return None  # a data set without rows has no file, and `datasets` cannot open it
    try:
        dataset: Dataset = load_from_disk(str(folder)).with_format(None)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as fault:
        notes.append(f"{folder.name}/ could not be read ({type(fault).__name__}), so its rows are not shown.")
        return None
    return dataset


def _first(dataset: Dataset | None, most: int) -> list[dict[str, Any]]:
    return [dataset[number] for number in range(min(most, len(dataset)))] if dataset else []


def _clusters(chosen: Dataset | None, other: Dataset | None, names: Mapping[str, str]) -> list[Cluster]:
    taken, left = (Counter(int(value) for value in numbers(dataset, "cluster")) for dataset in (chosen, other))
    sizes = taken + left
    ranked = sorted(sizes, key=lambda number: (-sizes[number], number))
    return [Cluster(str(n), names.get(str(n), ""), sizes[n], taken[n]) for n in ranked]


def _cluster_names(file: Path) -> Mapping[str, str]:
    names = read_json(file).get("names")
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, Mapping) else ()
    return {str(key): ", ".join(map(str, name[:3])) if isinstance(name, list) else str(name) for key, name in pairs}


def _chosen(row: Mapping[str, Any]) -> Chosen:
    names = ("cluster", "rank", "cluster_rank", "score", "comparisons")
    facts = {name: row[name] for name in names if row.get(name) is not None}
    return Chosen(
        str(row.get("id", "")),
        cut(row.get("instruction"), 280),
        cut(row.get("input"), 160),
        cut(row.get("response"), 280),
        texts(row.get("chosen_tags")),
        texts(row.get("labels")),
        str(row.get("why") or "")[:600],
        facts,
    )


def _rejected(lost: Dataset | None) -> dict[str, tuple[Rejected, ...]]:
    """The first rows of each reason; of all others only the reason is read."""
    first: dict[str, list[int]] = defaultdict(list)
    number = 0
    for table in tables(lost, "rejection"):
        for reason in pc.struct_field(table.column("rejection"), "reason").to_pylist():
            if reason is not None and len(first[reason]) < _PER_REASON:
                first[reason].append(number)
            number += 1
    return {reason: tuple(_lost(lost[place]) for place in places) for reason, places in first.items()} if lost else {}


def _lost(row: Mapping[str, Any]) -> Rejected:
    mark = row["rejection"]
    detail, raw = (cut(without_secrets(mark.get(name)), 240, 2000) for name in ("detail", "raw"))
    return Rejected(
        id=str(row.get("id", "")),
        instruction=cut(row.get("instruction"), 200, 2000),
        stage=str(mark.get("stage") or ""),
        detail=detail,
        raw=raw,
        attempts=mark.get("attempts"),
    )
