"""The tag pool: every tag of the seeds, with its aspects, its seed rows and their source (Tag-Evol, section 3.1)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from datasets import Dataset

from ..errors import DataError
from ..rows import Row, iterate
from .normalize import TagNormalizer
from .pool_json import pool_json
from .pool_part import kept
from .pool_places import CONFIG, find_table, push, read_file
from .pool_rows import pool_dataset, table_from_dataset
from .pool_table import ByTag, Counts, Gathering, Seed, Table, joined, table_of


class TagPool:
    """Distinct tags in alphabetical order; for each how many rows of which source have it, and under which aspects.

    A value: nothing changes it, and it does not depend on the order of the rows. It is kept as one table of numbers:
    some ten bytes an occurrence beside the names.

    Args:
        aspects: Tag → aspect → number of rows; these rows have no ids.
        source: Where they come from.
    """

    def __init__(self, aspects: Mapping[str, Mapping[str, int]], source: str = "") -> None:
        found = Gathering()
        for tag, counts in aspects.items():
            for aspect, number in counts.items():
                found.add(tag, aspect, (source, ""), number)
        self._table = found.table()

    @classmethod
    def from_rows(cls, rows: Iterable[Row], source: str = "") -> TagPool:
        """Pool of rows that have the column `aspects`; rejected rows do not count."""
        found = Gathering()
        for row in rows:
            if row.get("rejection") is not None:
                continue
            seed = (source, row.get("id") or "")
            for part in row["aspects"] or ():
                for tag in part["tags"]:
                    found.add(tag, part["aspect"], seed)
        return cls._of(found.table())

    @classmethod
    def from_dataset(cls, dataset: Dataset, source: str = "") -> TagPool:
        """Pool of a tagged data set.

        Args:
            dataset: With the column `aspects`; `id` tells its rows apart.
            source: What the data set is called where pools are merged.

        Raises:
            DataError: If the data set has no column `aspects`, or no tag in it.
        """
        if "aspects" not in dataset.column_names:
            raise DataError(
                f"a tag pool needs the column aspects; the data set has: {', '.join(dataset.column_names)}; "
                "apply AspectTagger first"
            )
        have = [name for name in ("id", "aspects", "rejection") if name in dataset.column_names]
        pool = cls.from_rows(iterate(dataset.select_columns(have)), source)
        if not len(pool):
            raise DataError("a tag pool needs at least one tag; no row of the data set has one")
        return pool

    @classmethod
    def merge(cls, pools: Iterable[TagPool]) -> TagPool:
        """One pool of several; each row keeps its source.

        Equal tags become one. A row that several pools have, with the same source and id, counts once; rows without
        ids are added up.
        """
        return cls._of(joined([pool._table for pool in pools]))

    @property
    def tags(self) -> list[str]:
        """The tags, sorted."""
        return list(self._table.tags)

    @property
    def aspects(self) -> Mapping[str, Mapping[str, int]]:
        """Tag → aspect → number of rows."""
        return ByTag(self._places, self._aspects)

    @property
    def sources(self) -> Mapping[str, Mapping[str, int]]:
        """Tag → source → number of rows."""
        return ByTag(self._places, self._sources)

    @property
    def row_sizes(self) -> list[int]:
        """Number of distinct tags of each seed row that has an id and at least one tag, by source and id."""
        _, seed, _ = self._table.holdings()
        sizes = np.bincount(seed, minlength=len(self._table.seeds)).tolist()
        return [size for size, (_, row_id) in zip(sizes, self._table.seeds, strict=True) if row_id]

    def __len__(self) -> int:
        return len(self._table.tags)

    def __contains__(self, tag: object) -> bool:
        return tag in self._places

    def __eq__(self, other: object) -> bool:
        return self._table == other._table if isinstance(other, TagPool) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # equal by value, and large

    def __repr__(self) -> str:
        return f"TagPool({', '.join(f'{name}={value!r}' for name, value in self.summary().items())})"

    def count(self, tag: str) -> int:
        """How many rows have a tag; 0 for a tag that is not in the pool."""
        place = self._places.get(tag)
        return 0 if place is None else self._sources.total(place)

    def seeds(self, tag: str) -> list[Seed]:
        """(source, row id) of the rows that have a tag, sorted; rows without an id are not listed."""
        place = self._places.get(tag)
        if place is None:
            return []
        first, last = np.searchsorted(self._table.cells[0], [place, place + 1])
        found = {self._table.seeds[seed] for seed in self._table.cells[2, first:last].tolist()}
        return sorted(seed for seed in found if seed[1])

    def summary(self) -> dict[str, Any]:
        """Numbers of tags, aspects and seed rows, and how many tags each source has."""
        table = self._table
        tags = np.bincount(self._sources.keys, minlength=len(table.sources)).tolist()
        return {
            "tags": len(self),
            "aspects": len(table.aspects),
            "seed_rows": sum(bool(row_id) for _, row_id in table.seeds),
            "sources": dict(zip(table.sources, tags, strict=True)),
        }

    def draw(self, size: int, without: Collection[str], random: Random, tags: list[str] | None = None) -> list[str]:
        """`size` different tags, uniformly over the distinct tags that are not in `without`; all if fewer.

        The paper draws 21 of the pool and then takes the seed's own tags away; drawing 21 of the others gives every
        row the same number of candidates, so that one schema serves them all.

        Args:
            size: How many, >= 1.
            without: Tags that must not be drawn: the seed's own.
            random: Source of randomness, seeded from the row.
            tags: Drawn from these alone, which are sorted; by default all tags of the pool.
        """
        names: Sequence[str] = self._table.tags if tags is None else tags
        place_of: Callable[[str], int | None] = self._places.get if tags is None else partial(_place, tags)
        own = sorted(place for tag in set(without) if (place := place_of(tag)) is not None)
        before = [place - number for number, place in enumerate(own)]  # how many foreign tags stand before each
        free = len(names) - len(own)
        drawn = random.sample(range(free), min(size, free))
        return [names[number + bisect_right(before, number)] for number in drawn]

    def keep(
        self, least: int = 1, sources: Collection[str] | None = None, aspects: Collection[str] | None = None
    ) -> TagPool:
        """The pool with a part of its tags.

        Args:
            least: Fewest rows of a tag that stays, counted after the other two.
            sources: Only rows of these; None for all.
            aspects: Only occurrences under these; None for all.

        Raises:
            DataError: If the pool has no such source or aspect, or if no tag is left.
        """
        return TagPool._of(kept(self._table, least, sources, aspects))

    def normalized(self, normalizer: TagNormalizer) -> TagPool:
        """The pool under canonical names: what the normaliser merges becomes one tag, none leaves.

        The seeds' own tags must go by the same names, or a seed is offered a tag that it has; see `canonical_tags`.

        Args:
            normalizer: Fitted on this pool or on other tags; one that was fitted on others goes by its rule step.
        """
        table = self._table
        names = [canonical_name(normalizer, tag) for tag in table.tags]
        return TagPool._of(table_of(names, table.aspects, table.seeds, table.cells))

    def save(self, path: str | Path) -> None:
        """Write the pool as JSON, one tag a line; equal pools give equal bytes."""
        Path(path).write_bytes(pool_json(self._table).encode("utf-8"))

    @classmethod
    def load(cls, path: str | Path) -> TagPool:
        """Read a pool that `save` wrote, also one of an earlier version.

        Raises:
            DataError: If the file cannot be read, is not a tag pool or has no tag.
        """
        return cls._of(read_file(Path(path)))

    def to_dataset(self) -> Dataset:
        """One row a tag: tag, count, aspects, sources and every seed row (source, id, aspect).

        Raises:
            DataError: If a name cannot be stored as UTF-8.
        """
        return pool_dataset(self._table)

    @classmethod
    def from_pool_dataset(cls, dataset: Dataset) -> TagPool:
        """The pool that `to_dataset` gave, whatever the order of the rows.

        Raises:
            DataError: If the data set is not a tag pool or has no tag.
        """
        return cls._of(table_from_dataset(dataset))

    def push_to_hub(self, repo: str, config_name: str = CONFIG, private: bool = True) -> None:
        """Push the pool as a configuration of a data set on the Hub; the token is that of `huggingface_hub`.

        Args:
            repo: The data set's id, as owner/name; made where it does not exist.
            config_name: The configuration; other configurations of the data set stay as they are.
            private: For a new repository.

        Raises:
            DataError: If the Hub refuses.
        """
        push(self.to_dataset(), repo, config_name, private)

    @classmethod
    def _of(cls, table: Table) -> TagPool:
        pool = cls.__new__(cls)
        pool._table = table
        return pool

    @cached_property
    def _aspects(self) -> Counts:
        return self._table.by_aspect()

    @cached_property
    def _sources(self) -> Counts:
        return self._table.by_source()

    @cached_property
    def _places(self) -> dict[str, int]:
        return {tag: place for place, tag in enumerate(self._table.tags)}


def open_pool(where: str) -> TagPool:
    """A tag pool by the place where it lies.

    Args:
        where: A JSON file that `TagPool.save` wrote, a run folder that holds tag_pool.json, a data set that was saved
            from `TagPool.to_dataset`, or a Hub id as owner/name, or owner/name:config where the configuration is not
            "tag_pool". What is on this machine goes first.

    Raises:
        DataError: If there is no such place, or what lies there is not a tag pool, cannot be read or has no tag.
    """
    return TagPool._of(find_table(where))


def canonical_name(normalizer: TagNormalizer, tag: str) -> str:
    """The name that a tag goes by; its own where the normaliser has none."""
    return (normalizer.apply([tag]) or [tag])[0]


def _place(tags: Sequence[str], tag: str) -> int | None:
    place = bisect_left(tags, tag)
    return place if place < len(tags) and tags[place] == tag else None
