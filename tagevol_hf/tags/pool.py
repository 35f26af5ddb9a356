"""The tag pool: every tag that the seeds have, with its aspects and how often it occurs (Tag-Evol, section 3.1)."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset

from ..errors import DataError
from ..rows import Row, iterate

_FORMAT = 1


@dataclass(frozen=True)
class TagPool:
    """Distinct tags in alphabetical order, each with how many rows have it under which aspect.

    Attributes:
        aspects: Tag → aspect → number of rows. The tags are sorted, so the pool does not depend on row order.
    """

    aspects: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "aspects", dict(sorted(self.aspects.items())))

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> TagPool:
        """Pool of rows that have the column `aspects`; rejected rows do not count."""
        counts: dict[str, Counter[str]] = {}
        for row in rows:
            for part in row["aspects"] or ():
                for tag in part["tags"]:
                    counts.setdefault(tag, Counter())[part["aspect"]] += 1
        return cls({tag: dict(sorted(aspects.items())) for tag, aspects in counts.items()})

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> TagPool:
        """Pool of a tagged data set.

        Raises:
            DataError: If the data set has no column `aspects`, or no tag in it.
        """
        if "aspects" not in dataset.column_names:
            raise DataError(
                f"a tag pool needs the column aspects; the data set has: {', '.join(dataset.column_names)}; "
                "apply AspectTagger first"
            )
        pool = cls.from_rows(iterate(dataset.select_columns(["aspects"])))
        if not len(pool):
            raise DataError("a tag pool needs at least one tag; no row of the data set has one")
        return pool

    @property
    def tags(self) -> list[str]:
        """The tags, sorted."""
        return list(self.aspects)

    def __len__(self) -> int:
        return len(self.aspects)

    def count(self, tag: str) -> int:
        """How often a tag occurs; 0 for a tag that is not in the pool."""
        return sum(self.aspects.get(tag, {}).values())

    def draw(self, size: int, without: Collection[str], random: Random, tags: list[str] | None = None) -> list[str]:
        """`size` different tags, uniformly over the distinct tags that are not in `without`; all if fewer.

        The paper draws 21 of the pool and then takes the seed's own tags away; drawing 21 of the others gives every
        row the same number of candidates, so that one schema serves them all.

        Args:
            size: How many, >= 1.
            without: Tags that must not be drawn: the seed's own.
            random: Source of randomness, seeded from the row.
            tags: `self.tags`, where a caller draws often and has the list.
        """
        tags = self.tags if tags is None else tags
        own = sorted(place for tag in set(without) if (place := _place(tags, tag)) is not None)
        free = len(tags) - len(own)
        drawn = random.sample(range(free), min(size, free))
        return [tags[_skip(number, own)] for number in drawn]

    def save(self, path: Path) -> None:
        """Write the pool as JSON."""
        body = [{"tag": tag, "count": self.count(tag), "aspects": dict(self.aspects[tag])} for tag in self.aspects]
        path.write_text(json.dumps({"format": _FORMAT, "tags": body}, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TagPool:
        """Read a pool that `save` wrote.

        Raises:
            DataError: If the file cannot be read or is not a tag pool.
        """
        try:
            body: Any = json.loads(path.read_text(encoding="utf-8"))
            if body["format"] != _FORMAT:
                raise DataError(f"{path}: tag pool of format {body['format']}, expected {_FORMAT}")
            return cls({entry["tag"]: dict(entry["aspects"]) for entry in body["tags"]})
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DataError(f"{path}: not a tag pool ({fault!r})") from None


def _place(tags: list[str], tag: str) -> int | None:
    place = bisect_left(tags, tag)
    return place if place < len(tags) and tags[place] == tag else None


def _skip(number: int, own: list[int]) -> int:
    """The place of the `number`-th tag that is not an own one; `own` is sorted."""
    for place in own:
        if place > number:
            break
        number += 1
    return number
