"""The table under a tag pool: which row has which tag under which aspect, as numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Cells = npt.NDArray[np.integer[Any]]
Seed = tuple[str, str]  # source and row id; the id is "" for rows that are known by their number alone

Name = TypeVar("Name", str, Seed)


@dataclass(frozen=True, eq=False)
class Table:
    """Occurrences in order of tag, aspect and row; equal pools have equal tables.

    Attributes:
        tags: Distinct tags, sorted.
        aspects: Distinct aspects, sorted.
        seeds: Distinct (source, row id), sorted.
        cells: Shape (4, occurrences), int32: the places of tag, aspect and seed in these lists, and the number of
            rows, which is 1 but for rows without an id.
    """

    tags: tuple[str, ...]
    aspects: tuple[str, ...]
    seeds: tuple[Seed, ...]
    cells: Cells

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        names = (self.tags, self.aspects, self.seeds) == (other.tags, other.aspects, other.seeds)
        return names and np.array_equal(self.cells, other.cells)

    __hash__ = None  # type: ignore[assignment] # equal by value, and large

    @property
    def sources(self) -> tuple[str, ...]:
        """Distinct sources, sorted."""
        return tuple(dict.fromkeys(source for source, _ in self.seeds))

    def source_of_seed(self) -> Numbers:
        """For each seed the place of its source in `sources`."""
        places = {source: place for place, source in enumerate(self.sources)}
        return np.array([places[source] for source, _ in self.seeds], dtype=np.int64)

    def holdings(self) -> tuple[Numbers, Numbers, Numbers]:
        """Tag, seed and number of rows, without aspects: a row with an id counts once however many aspects it has."""
        tag, _, seed, rows = self.cells.astype(np.int64)
        (tag, seed), rows = _summed((tag, seed), rows)
        return tag, seed, np.where(_has_id(self.seeds)[seed], 1, rows)

    def by_aspect(self) -> Counts:
        """Rows of each tag under each aspect."""
        tag, aspect, _, rows = self.cells.astype(np.int64)
        return _counts(len(self.tags), self.aspects, tag, aspect, rows)

    def by_source(self) -> Counts:
        """Rows of each tag in each source."""
        tag, seed, rows = self.holdings()
        return _counts(len(self.tags), self.sources, tag, self.source_of_seed()[seed], rows)


@dataclass(frozen=True)
class Counts:
    """For each tag a few (name, number) pairs, without a dictionary each: those of tag t lie at starts[t:t + 2]."""

    names: Sequence[str]
    starts: Numbers
    keys: Numbers
    numbers: Numbers

    def of(self, tag: int) -> dict[str, int]:
        """Name → number for the tag at a place; names in alphabetical order."""
        part = slice(self.starts[tag], self.starts[tag + 1])
        pairs = zip(self.keys[part].tolist(), self.numbers[part].tolist(), strict=True)
        return {self.names[key]: number for key, number in pairs}

    def total(self, tag: int) -> int:
        """Sum for the tag at a place."""
        return int(self.numbers[self.starts[tag] : self.starts[tag + 1]].sum())


class ByTag(Mapping[str, Mapping[str, int]]):
    """Tag → name → number, made when it is asked for."""

    def __init__(self, places: Mapping[str, int], counts: Counts) -> None:
        self._places, self._counts = places, counts

    def __getitem__(self, tag: str) -> dict[str, int]:
        return self._counts.of(self._places[tag])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass
class Gathering:
    """Collects occurrences one by one, names as numbers."""

    tags: dict[str, int] = field(default_factory=dict)
    aspects: dict[str, int] = field(default_factory=dict)
    seeds: dict[Seed, int] = field(default_factory=dict)
    cells: array[int] = field(default_factory=lambda: array("i"))

    def add(self, tag: str, aspect: str, seed: Seed, rows: int = 1) -> None:
        """One tag under one aspect in one row, or in `rows` rows without an id."""
        places = self.tags.setdefault(tag, len(self.tags)), self.aspects.setdefault(aspect, len(self.aspects))
        self.cells.extend((*places, self.seeds.setdefault(seed, len(self.seeds)), rows))

    def table(self) -> Table:
        """All of it, in order."""
        cells = np.frombuffer(self.cells, dtype=np.int32) if self.cells else np.zeros(0, dtype=np.int32)
        return table_of(tuple(self.tags), tuple(self.aspects), tuple(self.seeds), cells.reshape(-1, 4).T)


def table_of(tags: Sequence[str], aspects: Sequence[str], seeds: Sequence[Seed], cells: Cells) -> Table:
    """The table of any names and cells: names may be repeated, unsorted or unused, cells may be repeated.

    A repeated cell of a row with an id counts once; of rows without an id the numbers are added.
    """
    tags, tag = _ranked(tags, cells[0])
    aspects, aspect = _ranked(aspects, cells[1])
    seeds, seed = _ranked(seeds, cells[2])
    (tag, aspect, seed), rows = _summed((tag, aspect, seed), cells[3].astype(np.int64))
    rows = np.where(_has_id(seeds)[seed], 1, rows)
    return Table(tags, aspects, seeds, np.stack([tag, aspect, seed, rows]).astype(np.int32))


def joined(tables: Sequence[Table]) -> Table:
    """One table of the occurrences of all."""
    tags: list[str] = []
    aspects: list[str] = []
    seeds: list[Seed] = []
    cells: list[Cells] = [np.zeros((4, 0), dtype=np.int64)]
    for table in tables:
        cells.append(table.cells + np.array([[len(tags)], [len(aspects)], [len(seeds)], [0]]))
        tags += table.tags
        aspects += table.aspects
        seeds += table.seeds
    return table_of(tags, aspects, seeds, np.concatenate(cells, axis=1))


def chosen(table: Table, wanted: npt.NDArray[np.bool_]) -> Table:
    """The table of some of its cells."""
    return table_of(table.tags, table.aspects, table.seeds, table.cells[:, wanted])


def _ranked(names: Sequence[Name], used: Cells) -> tuple[tuple[Name, ...], Numbers]:
    """The used names, distinct and sorted, and for each use the place among them."""
    kept, place = np.unique(used, return_inverse=True)
    ordered = sorted({names[number] for number in kept.tolist()})
    rank = {name: position for position, name in enumerate(ordered)}
    ranks = np.array([rank[names[number]] for number in kept.tolist()], dtype=np.int64)
    return tuple(ordered), ranks[place.reshape(-1)]


def _summed(keys: tuple[Numbers, ...], numbers: Numbers) -> tuple[tuple[Numbers, ...], Numbers]:
    """The distinct keys in order, and the sum of the numbers of each."""
    order = np.lexsort(keys[::-1])
    keys, numbers = tuple(key[order] for key in keys), numbers[order]
    first = np.ones(len(numbers), dtype=bool)
    first[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    starts = np.flatnonzero(first)
    sums = np.add.reduceat(numbers, starts) if len(starts) else numbers
    return tuple(key[starts] for key in keys), sums


def _counts(tags: int, names: Sequence[str], tag: Numbers, name: Numbers, numbers: Numbers) -> Counts:
    (tag, name), numbers = _summed((tag, name), numbers)
    return Counts(names, np.searchsorted(tag, np.arange(tags + 1)), name, numbers)


def _has_id(seeds: Sequence[Seed]) -> npt.NDArray[np.bool_]:
    return np.array([bool(row_id) for _, row_id in seeds], dtype=bool)
