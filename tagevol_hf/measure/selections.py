"""Selections of one pool side by side: what they share, what they cover, how long, diverse and difficult they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean, median, stdev
from typing import Any

from datasets import Dataset

from ..errors import DataError
from ..rows import Row, iterate
from ..tags.embed import Embedder, NgramEmbedder
from . import spread
from .selections_length import demand, length_matched
from .selections_table import DEFINITIONS, Figures, SelectionTable
from .words import count_words

__all__ = ["SelectionTable", "compare_selections", "length_matched"]

_DIGITS = 6
_READ = ("id", "instruction", "response", "labels", "cluster", "clusters", "rejection")


def compare_selections(
    pool: Dataset,
    chosen: Mapping[str, Dataset | Sequence[Dataset]],
    *,
    equal_tokens: bool = False,
    embedder: Embedder | None = None,
    seeds: Sequence[int] = (42, 43, 44),
) -> SelectionTable:
    """One table of selections, the pool itself first.

    Args:
        pool: The rows that were chosen from, with `id`, `instruction`, `response`, and best with `labels` and
            `cluster` or `clusters`; what is not there is not measured, with a note. Rejected rows do not count.
        chosen: Name → its rows, or several draws of them, such as random ones by several seeds, for mean and standard
            deviation. Labels and clusters are those of the pool, texts the chosen rows' own, so that rewritten ones
            may be given.
        equal_tokens: Adds for each selection random ones of the same size and response lengths (`length_matched`),
            so that what length alone does can be told apart.
        embedder: For the spread of the instructions; character n-grams by default.
        seeds: Of these random selections.

    Raises:
        DataError: If a column is missing, there is no selection, or a chosen row is not in the pool.
    """
    described = _Described.of(pool)
    several = {name: [part] if isinstance(part, Dataset) else list(part) for name, part in chosen.items()}
    if not several or not all(several.values()):
        raise DataError("compare_selections: expected at least one selection, each of at least one draw, got none")
    if equal_tokens:
        several |= {
            f"{name}, same lengths": [length_matched(pool, parts[0], seed) for seed in seeds]
            for name, parts in list(several.items())
        }
    embedder = embedder or NgramEmbedder()
    texts = {name: [_texts(name, part, described) for part in parts] for name, parts in several.items()}
    found = {name: [described.figures(part, embedder) for part in parts] for name, parts in texts.items()}
    figures = {"pool": described.figures(described.texts, embedder)} if "pool" not in several else {}
    return SelectionTable(
        figures={**figures, **{name: _folded(parts, mean) for name, parts in found.items()}},
        deviations={name: _folded(parts, stdev) for name, parts in found.items() if len(parts) > 1},
        draws={name: len(parts) for name, parts in texts.items()},
        overlap=_overlap({name: [set(part) for part in parts] for name, parts in texts.items()}),
        definitions={**DEFINITIONS, "spread": spread.definition(embedder)},
        notes=(*described.notes, *_about_sizes(found, equal_tokens)),
    )


Texts = Mapping[str, tuple[str, str]]  # id → instruction, response


@dataclass(frozen=True)
class _Described:
    """What is known about the pool's rows, by id; labels or clusters are None where the pool has no such column."""

    texts: Texts
    labels: Mapping[str, frozenset[str]] | None
    clusters: Mapping[str, frozenset[int]] | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, pool: Dataset) -> _Described:
        demand("pool", pool, ("id", "instruction", "response"))
        have = [name for name in _READ if name in pool.column_names]
        rows = [row for row in iterate(pool.select_columns(have)) if row.get("rejection") is None]
        labels = {row["id"]: frozenset(row["labels"] or ()) for row in rows} if "labels" in have else None
        clustered = "cluster" in have or "clusters" in have
        clusters = {row["id"]: _clusters(row) for row in rows} if clustered else None
        notes = []
        if labels is None:
            notes.append("Label coverage, diversity and difficulty are not measured: the pool has no column labels.")
        if clusters is None:
            notes.append("Cluster coverage is not measured: the pool has no column cluster.")
        texts = {row["id"]: _text(row) for row in sorted(rows, key=lambda row: row["id"])}
        return cls(texts, labels, clusters, tuple(notes))

    def figures(self, texts: Texts, embedder: Embedder) -> dict[str, float]:
        """Those that can be computed for these rows; `n` alone if there are none."""
        found = {"n": float(len(texts))}
        if not texts:
            return found
        for unit, count in (("characters", len), ("words", count_words)):
            sizes = [count(response) for _, response in texts.values()]
            found |= {f"{unit}_mean": mean(sizes), f"{unit}_median": float(median(sizes))}
        apart = spread.Directions.of([instruction for instruction, _ in texts.values()], embedder).spread
        found |= {} if apart is None else {"spread": apart}
        if self.labels is not None:
            own = [self.labels[row_id] for row_id in texts]
            found["diversity"] = len(frozenset().union(*own)) / len(own)
            found["difficulty"] = mean(len(labels) for labels in own)
            found |= _coverage("label_coverage", own, self.labels)
        if self.clusters is not None:
            found |= _coverage("cluster_coverage", [self.clusters[row_id] for row_id in texts], self.clusters)
        return {name: round(float(value), _DIGITS) for name, value in found.items()}


def _coverage(name: str, own: Sequence[frozenset[Any]], pool: Mapping[str, frozenset[Any]]) -> dict[str, float]:
    every = frozenset().union(*pool.values())
    return {name: len(frozenset().union(*own)) / len(every)} if every else {}


def _clusters(row: Row) -> frozenset[int]:
    several, home = row.get("clusters"), row.get("cluster")
    return frozenset(several) if several else frozenset(() if home is None else (home,))


def _text(row: Row) -> tuple[str, str]:
    return row["instruction"] or "", row["response"] or ""


def _texts(name: str, chosen: Dataset, pool: _Described) -> Texts:
    demand(name, chosen, ("id", "instruction", "response"))
    found = {row["id"]: _text(row) for row in iterate(chosen.select_columns(["id", "instruction", "response"]))}
    strange = sorted(found.keys() - pool.texts.keys())
    if strange:
        raise DataError(f"compare_selections: {name!r} has the row {strange[0]!r}, which is not in the pool")
    if len(found) < len(chosen):
        raise DataError(f"compare_selections: {name!r} has {len(chosen)} rows but {len(found)} different ids")
    return dict(sorted(found.items()))


def _overlap(ids: Mapping[str, Sequence[set[str]]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {name: {} for name in ids}
    for name, other in product(ids, ids):
        shares = list(_shares(ids[name], ids[other]))
        if shares:
            found[name][other] = round(mean(shares), _DIGITS)
    return found


def _shares(own: Sequence[set[str]], other: Sequence[set[str]]) -> Iterator[float]:
    """For each draw of the one and each of the other, unless they are the same."""
    for one, two in product(own, other):
        if one is not two and one:
            yield len(one & two) / len(one)


def _folded(draws: Sequence[Figures], fold: Callable[[list[float]], float]) -> dict[str, float]:
    shared = [figure for figure in DEFINITIONS if all(figure in draw for draw in draws)]
    return {figure: round(float(fold([draw[figure] for draw in draws])), _DIGITS) for figure in shared}


def _about_sizes(found: Mapping[str, Sequence[Figures]], equal_tokens: bool) -> list[str]:
    sizes = {name: sorted({int(draw["n"]) for draw in draws}) for name, draws in found.items()}
    notes = []
    if len({tuple(size) for size in sizes.values()}) > 1:
        told = ", ".join(f"{name} {' to '.join(f'{n:,}' for n in size)}" for name, size in sizes.items())
        notes.append(f"The selections are not of one size ({told}): coverage grows with it, so do not compare theirs.")
    if equal_tokens:
        notes.append("Same lengths: random rows with responses as long, in characters; they stand for tokens.")
    return notes
