"""Rows that say nearly the same: of each group one stays, the others are rejected as "near_duplicate"."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, Literal

import numpy as np
from datasets import Dataset, Features

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, rejection, with_columns
from ..tags.embed import Embedder, NgramEmbedder, Vectors
from . import minhash
from .grams import Numbers
from .instructions import PARTS, demand, parts_of

By = Literal["minhash", "embedding"]
THRESHOLDS = {"minhash": 0.8, "embedding": 0.95}
_CHUNK = 2000
_BLOCK = 1024


@dataclass(frozen=True)
class Duplicate:
    """One row that says nearly the same as another.

    Attributes:
        row: Number of the row in the data set, from 0.
        kept: Number of the row that stays; it is itself no duplicate.
        similarity: Jaccard index or cosine, at least the threshold.
    """

    row: int
    kept: int
    similarity: float


@dataclass(frozen=True)
class Duplicates:
    """What was found, and how.

    Attributes:
        rows: Rows that were compared.
        how: "minhash" or the embedder's identity.
        threshold: Least similarity of duplicates.
        found: By row.
    """

    rows: int
    how: str
    threshold: float
    found: tuple[Duplicate, ...]

    def summary(self) -> dict[str, Any]:
        """Small values for the record of a run."""
        sizes = Counter(one.kept for one in self.found)
        largest = max(sizes.values()) + 1 if sizes else 0
        counts = {"rows": self.rows, "duplicates": len(self.found), "groups": len(sizes), "largest_group": largest}
        return {"by": self.how, "threshold": self.threshold, **counts}


def find_near_duplicates(
    dataset: Dataset,
    *,
    by: By = "minhash",
    threshold: float | None = None,
    columns: Sequence[str] = ("instruction",),
    best: str = "",
    n: int = 3,
    embedder: Embedder | None = None,
) -> Duplicates:
    """Find rows that say nearly the same; rows that are rejected already, and those without any text, are left out.

    The rows are taken in their rank: by the column `best`, the highest first; then by the length of the response, the
    longest first; then by id. A row is a duplicate if it is similar to one that is kept. So no two kept rows are
    similar, each duplicate is similar to the kept row that it names, and the order of the rows has no say.

    Args:
        dataset: Needs `id` and `instruction`, and the named columns.
        by: "minhash" compares word n-grams: the same wording. "embedding" compares vectors: the same meaning, as the
            embedder sees it; each row with each, so for some ten thousand rows.
        threshold: Least Jaccard index, 0.8 by default, or least cosine, 0.95 by default; in (0, 1].
        columns: "instruction", with `input` and the turns of `history`, and "response".
        best: A column of numbers.
        n: Length of an n-gram in words.
        embedder: Character n-grams by default.

    Raises:
        DataError: If a column is missing, or a value is out of its range.
        MissingExtraError: If rensa is not installed.
    """
    threshold = THRESHOLDS[by] if threshold is None else threshold
    if not 0 < threshold <= 1 or n < 1:
        raise DataError(f"near_duplicates: expected a threshold in (0, 1] and n >= 1, got {threshold} and {n}")
    demand(dataset, ("id", "instruction", *columns, *([best] if best else [])), "near_duplicates")
    read = [name for name in ("id", *PARTS, best, "rejection") if name in dataset.column_names]
    rows = dataset.select_columns(list(dict.fromkeys(read)))
    order = _ranked(rows, columns, best)
    if by == "minhash":
        how, pairs = "minhash", _by_minhash(rows, order, columns, threshold, n)
    else:
        embedder = embedder or NgramEmbedder()
        how, pairs = embedder.identity, _by_embedding(rows, order, columns, threshold, embedder)
    found = (Duplicate(order[row], order[kept], round(similarity, 4)) for row, kept, similarity in pairs)
    return Duplicates(len(order), how, threshold, tuple(sorted(found, key=lambda one: one.row)))


def reject_near_duplicates(dataset: Dataset, duplicates: Duplicates) -> Dataset:
    """The data set with the rejection "near_duplicate" on each duplicate, with the id of the row that is kept.

    Args:
        dataset: The rows in which the duplicates were found, in the same order.
        duplicates: As `find_near_duplicates` gives them.
    """
    ids = dict(zip((kept := sorted({one.kept for one in duplicates.found})), dataset.select(kept)["id"], strict=True))
    details = {one.row: f"{ids[one.kept]} is kept, similarity {one.similarity:.2f}" for one in duplicates.found}
    places = iter(range(len(dataset)))

    def mark(row: Row) -> dict[str, Any]:
        detail, there = details.get(next(places)), row.get("rejection")
        return {"rejection": rejection("near_duplicates", "near_duplicate", detail) if detail and not there else there}

    return with_columns(dataset, mark, Features({"rejection": REJECTION}))


def _text(row: Row, columns: Sequence[str]) -> str:
    return "\n\n".join(part for column in columns for part in parts_of(row, column))


def _ranked(rows: Dataset, columns: Sequence[str], best: str) -> list[int]:
    """Numbers of the rows that are compared, the best first; equal ids by their texts."""
    keys = []
    for place, row in enumerate(iterate(rows)):
        if row.get("rejection") is None and (text := _text(row, columns)).strip():
            score = row[best] if best else 0
            score = -math.inf if score is None or math.isnan(score) else score
            digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            keys.append((-score, -len(row.get("response") or ""), row["id"] or "", digest, place))
    return [place for *_, place in sorted(keys)]


def _texts(rows: Dataset, places: Sequence[int], columns: Sequence[str], size: int) -> Iterator[list[str]]:
    """The texts of these rows, so many at once."""
    texts = (_text(row, columns) for row in iterate(rows.select(places)))
    while chunk := list(islice(texts, size)):
        yield chunk


def _by_minhash(
    rows: Dataset, order: Sequence[int], columns: Sequence[str], threshold: float, n: int
) -> Iterator[tuple[int, int, float]]:
    """Only texts that meet in a band are read again and compared."""
    shingles, width = minhash.Shingles(n), minhash.bands(threshold)
    found = [minhash.signatures(*shingles.of(chunk), width) for chunk in _texts(rows, order, columns, _CHUNK)]
    signed = np.concatenate(found) if found else np.zeros((0, 1), np.uint64)
    meeting = minhash.meeting(signed)
    sets: list[Numbers] = []
    for chunk in _texts(rows, [order[place] for place in meeting], columns, _CHUNK):
        numbers, begins = shingles.of(chunk)
        sets += [part.copy() for part in np.split(numbers, begins[1:-1])]
    for row, kept, similarity in minhash.duplicates(sets, signed[meeting], threshold):
        yield int(meeting[row]), int(meeting[kept]), similarity


def _by_embedding(
    rows: Dataset, order: Sequence[int], columns: Sequence[str], threshold: float, embedder: Embedder
) -> Iterator[tuple[int, int, float]]:
    """Exact: each row with all that are kept, a block at a time."""
    kept: list[Vectors] = []
    numbers: list[int] = []
    for first, texts in zip(range(0, len(order), _BLOCK), _texts(rows, order, columns, _BLOCK), strict=True):
        vectors = embedder.encode(texts)
        nearest, similarity = _nearest(vectors, kept)
        own, fresh = vectors @ vectors.T, list[int]()
        for row in range(len(texts)):
            best = (float(similarity[row]), -numbers[nearest[row]]) if numbers else (-1.0, 0)
            best = max([best, *((float(own[row, other]), -first - other) for other in fresh)])
            if best[0] >= threshold:
                yield first + row, -best[1], min(1.0, best[0])
            else:
                fresh.append(row)
        kept.append(vectors[fresh])
        numbers += [first + row for row in fresh]


def _nearest(vectors: Vectors, kept: Sequence[Vectors]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Of each vector the nearest kept one, the first of equals, and their cosine."""
    nearest, similarity = np.zeros(len(vectors), np.int64), np.full(len(vectors), -1.0, np.float32)
    first = 0
    for block in kept:
        if len(block):
            cosines = vectors @ block.T
            place = cosines.argmax(axis=1)
            highest = cosines[np.arange(len(vectors)), place]
            better = highest > similarity
            nearest[better], similarity[better] = first + place[better], highest[better]
        first += len(block)
    return nearest, similarity
