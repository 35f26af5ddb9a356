"""What the page shows of the data sets: counts over single columns, and the few rows read in full."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, load_from_disk

from .figures import Bin, histogram
from .values import list_of, number_of, read_json
from .words import Cut, changes, cut, without_secrets

_BATCH = 10_000
_SELECTED, _SEEDS, _PER_REASON, _CLUSTERS, _SEED_SCAN = 20, 4, 3, 24, 20_000


@dataclass(frozen=True)
class Evolved:
    """One evolved instruction: `pieces` are (text, new against the seed), if short enough to compare."""

    budget: int
    pieces: tuple[tuple[str, bool], ...]
    text: Cut
    tags: tuple[str, ...]
    plan: Cut
    selected: bool


@dataclass(frozen=True)
class Evolution:
    """A seed and what became of it, one evolved instruction a budget."""

    seed_id: str
    seed: Cut
    input: Cut
    evolved: tuple[Evolved, ...]


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

    evolution: tuple[Evolution, ...]
    budgets: tuple[tuple[int, int, int], ...]  # budget, rows, chosen
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
    chosen, other, lost = (_open(folder / name, notes) for name in ("selected", "not_chosen", "rejected"))
    clusters = _clusters(chosen, other, _cluster_names(folder / "clusters.json"))
    return Rows(
        evolution=_evolution(chosen, other),
        budgets=_budgets(chosen, other),
        clusters=tuple(clusters[:_CLUSTERS]),
        more_clusters=max(0, len(clusters) - _CLUSTERS),
        scores=tuple(histogram(_numbers(chosen, "score"), _numbers(other, "score"))),
        selected=tuple(_chosen(row) for row in _first(chosen, _SELECTED)),
        selected_rows=len(chosen) if chosen else 0,
        rejected=_rejected(lost),
        notes=tuple(notes),
    )


def _open(folder: Path, notes: list[str]) -> Dataset | None:
    if not folder.is_dir() or read_json(folder / "state.json").get("_data_files") == []:
        return None  # a data set without rows has no file, and `datasets` cannot open it
    try:
        dataset: Dataset = load_from_disk(str(folder)).with_format(None)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as fault:
        notes.append(f"{folder.name}/ could not be read ({type(fault).__name__}), so its rows are not shown.")
        return None
    return dataset


def _tables(dataset: Dataset | None, *names: str) -> Iterator[pa.Table]:
    """The columns in batches; nothing if there is no data set or it lacks one of them."""
    if dataset and set(names) <= set(dataset.column_names):
        yield from dataset.select_columns(list(names)).with_format("arrow").iter(batch_size=_BATCH)


def _numbers(dataset: Dataset | None, name: str) -> list[float]:
    values = (value for table in _tables(dataset, name) for value in table.column(name).to_pylist())
    return [number for value in values if (number := number_of(value)) is not None]


def _first(dataset: Dataset | None, most: int) -> list[dict[str, Any]]:
    return [dataset[number] for number in range(min(most, len(dataset)))] if dataset else []


def _budgets(chosen: Dataset | None, other: Dataset | None) -> tuple[tuple[int, int, int], ...]:
    taken, left = (Counter(int(value) for value in _numbers(dataset, "budget")) for dataset in (chosen, other))
    return tuple((budget, taken[budget] + left[budget], taken[budget]) for budget in sorted(taken | left))


def _clusters(chosen: Dataset | None, other: Dataset | None, names: Mapping[str, str]) -> list[Cluster]:
    taken, left = (Counter(int(value) for value in _numbers(dataset, "cluster")) for dataset in (chosen, other))
    sizes = taken + left
    ranked = sorted(sizes, key=lambda number: (-sizes[number], number))
    return [Cluster(str(n), names.get(str(n), ""), sizes[n], taken[n]) for n in ranked]


def _cluster_names(file: Path) -> Mapping[str, str]:
    names = read_json(file).get("names")
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, Mapping) else ()
    return {str(key): ", ".join(map(str, name[:3])) if isinstance(name, list) else str(name) for key, name in pairs}


def _evolution(chosen: Dataset | None, other: Dataset | None) -> tuple[Evolution, ...]:
    """A few seeds of which every budget can be shown, spread over all such seeds."""
    places: dict[str, dict[int, tuple[Dataset, int, bool]]] = defaultdict(dict)
    for dataset in (chosen, other):
        found = dataset.select(range(min(len(dataset), _SEED_SCAN))) if dataset else None
        number = 0
        for table in _tables(found, "seed_id", "budget", "seed_instruction"):
            for seed, budget in zip(
                table.column("seed_id").to_pylist(), table.column("budget").to_pylist(), strict=True
            ):
                if seed is not None and budget is not None:
                    places[seed].setdefault(budget, (dataset, number, dataset is chosen))
                number += 1
    most = max(map(len, places.values()), default=0)
    full = [seed for seed in places if len(places[seed]) == most]
    proud = [seed for seed in full if any(is_selected for _, _, is_selected in places[seed].values())]
    full = proud if len(proud) >= _SEEDS else full
    picked = [full[round(n * (len(full) - 1) / max(1, _SEEDS - 1))] for n in range(_SEEDS)] if full else []
    return tuple(_example(seed, places[seed]) for seed in dict.fromkeys(picked))


def _example(seed: str, places: Mapping[int, tuple[Dataset, int, bool]]) -> Evolution:
    rows = [(budget, places[budget][0][places[budget][1]], places[budget][2]) for budget in sorted(places)]
    first = rows[0][1]
    before = str(first.get("seed_instruction") or "")
    return Evolution(
        seed, cut(before, 900), cut(first.get("input"), 300), tuple(_evolved(*row, before) for row in rows)
    )


def _evolved(budget: int, row: Mapping[str, Any], selected: bool, before: str) -> Evolved:
    shown = cut(row.get("instruction"), 900)
    pieces = () if shown.rest else tuple(changes(before, shown.head))
    return Evolved(budget, pieces, shown, _texts(row.get("chosen_tags")), cut(row.get("plan"), 4000), selected)


def _chosen(row: Mapping[str, Any]) -> Chosen:
    names = ("cluster", "rank", "cluster_rank", "score", "comparisons")
    facts = {name: row[name] for name in names if row.get(name) is not None}
    return Chosen(
        str(row.get("id", "")),
        cut(row.get("instruction"), 280),
        cut(row.get("input"), 160),
        cut(row.get("response"), 280),
        _texts(row.get("chosen_tags")),
        _texts(row.get("labels")),
        str(row.get("why") or "")[:600],
        facts,
    )


def _rejected(lost: Dataset | None) -> dict[str, tuple[Rejected, ...]]:
    """The first rows of each reason; of all others only the reason is read."""
    first: dict[str, list[int]] = defaultdict(list)
    number = 0
    for table in _tables(lost, "rejection"):
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


def _texts(value: Any, most: int = 24) -> tuple[str, ...]:
    """Short texts of a list, for chips."""
    return tuple(cut(item, 80, 80).head for item in list_of(value)[:most] if item)
