"""The best rows of each cluster, exactly n in all (TACOS, arXiv 2507.03673, section 3.3)."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from datasets import Dataset

from ..errors import DataError
from ..rows import Row, iterate
from .choice import Choice, Selection
from .quota import Allocation, quota

_WRITERS: Mapping[str, str] = MappingProxyType(
    {
        "score": "add_scores (step compare)",
        "single_score": "SingleScorer (step single_score)",
        "length_controlled_score": "control_length (after add_scores)",
    }
)
_TEXTS = ("history", "instruction", "input", "response")
_NUMBERS = ("int", "uint", "float", "null")  # how the names of numeric types begin; null: no row has one


@dataclass(frozen=True)
class _Candidate:
    """What the selection knows about a row.

    Attributes:
        index: Its place in the data set.
        id: Its id.
        clusters: Those that it is in.
        score: None where it is missing or no finite number.
        text: Digest of what it says; empty where the data set has no texts.
    """

    index: int
    id: str
    clusters: tuple[int, ...]
    score: float | None
    text: bytes

    @property
    def order(self) -> tuple[bool, float, str]:
        """Sorts the best first, ties by id, those without a score last."""
        return self.score is None, -(self.score or 0.0), self.id


def select(dataset: Dataset, *, n: int, allocate: Allocation = "equal", by: str = "score") -> Selection:
    """The best rows of each cluster; exactly n in all, or all rows if there are fewer.

    Each cluster has a quota (see `quota`). From the smallest cluster to the largest (ties: the lower number) each
    gives its best rows that no cluster before it gave: a row that belongs to several clusters is taken once. What
    the clusters lack then is divided anew, in the same way, over those that still have rows. Inside a cluster the
    score decides, and the id where scores are equal, so row order has no say. A row whose score is missing, NaN or
    infinite comes last, and its `why` says so. The rest cluster is a cluster like the others.

    Of rows that say the same (history, instruction, input and response, where these columns are there) only the best
    can be chosen; the warning says how many copies are left out.

    Args:
        dataset: Rows without rejected ones, with the columns `id`, the one that `by` names, and `clusters` or, where
            that is missing or empty, `cluster`.
        n: How many, >= 0; all rows, and a warning, if there are fewer.
        allocate: Quotas as in `quota`; "global" takes the best of all rows, whatever their clusters, and names the
            home cluster of each where there is a column `cluster`.
        by: The column of the scores, higher is better.

    Returns:
        The choice. `Choice.cluster` is the cluster for which the row was taken, `Choice.rank` its place there by
        score, also where better rows were taken for another cluster.

    Raises:
        DataError: If a column is missing or holds no numbers, a row is rejected or has no cluster, an id stands there
            twice, `allocate` is unknown, or n is negative.
    """
    if n < 0:
        raise DataError(f"select.n: expected 0 or more, got {n}")
    if allocate not in get_args(Allocation):
        raise DataError(f"select.allocate: expected {', '.join(get_args(Allocation))}, got {allocate!r}")
    every = _candidates(dataset, allocate, by)
    candidates = _without_copies(every)
    choices = _best_of_all(candidates, n, by) if allocate == "global" else _by_quota(candidates, n, allocate, by)
    chosen = {choice.index for choice in choices}
    left = tuple(place for place in range(len(every)) if place not in chosen)
    few = f"{n} rows asked for, there are {len(candidates)}: all are taken" if n > len(candidates) else ""
    copies = len(every) - len(candidates)
    same = f"{copies} copies of other rows are left out" if copies else ""
    ordered = tuple(sorted(choices, key=lambda choice: choice.index))
    return Selection(ordered, left, _taken(candidates, choices), n, "; ".join(filter(None, (few, same))))


def _without_copies(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The best of those that say the same, in the order of the data set."""
    best: dict[bytes, _Candidate] = {}
    for one in sorted(candidates, key=lambda one: one.order):
        best.setdefault(one.text, one)
    return [one for one in candidates if not one.text or best[one.text] is one]


def _by_quota(candidates: Sequence[_Candidate], n: int, allocate: Allocation, by: str) -> list[Choice]:
    """Rounds over the clusters until n rows are taken or none is left."""
    members = _members(candidates)
    taken: dict[int, Choice] = {}
    while len(taken) < min(n, len(candidates)):
        free = {number: sum(one.index not in taken for one in ranked) for number, ranked in members.items()}
        due = quota(free, n - len(taken), allocate)
        for number in sorted(due, key=lambda number: (free[number], number)):
            _take(number, members[number], due[number], taken, by)
    return list(taken.values())


def _take(number: int, ranked: Sequence[_Candidate], due: int, taken: dict[int, Choice], by: str) -> None:
    """Add the best rows of a cluster that are not taken yet, as many as are due or there are."""
    elsewhere = 0
    for rank, one in enumerate(ranked, 1):
        if due == 0:
            return
        if one.index in taken:
            elsewhere += taken[one.index].cluster != number
            continue
        due -= 1
        why = f"number {rank} of {len(ranked)} in cluster {number}, {_score(one, by)}"
        if elsewhere:
            why += f"; {elsewhere} better taken for other clusters"
        taken[one.index] = Choice(one.index, one.id, number, rank, one.score, why)


def _best_of_all(candidates: Sequence[_Candidate], n: int, by: str) -> list[Choice]:
    """The n best rows, whatever their clusters."""
    ranks = {
        one.index: (rank, len(ranked)) for ranked in _members(candidates).values() for rank, one in enumerate(ranked, 1)
    }
    choices = []
    for place, one in enumerate(sorted(candidates, key=lambda one: one.order)[:n], 1):
        why = f"number {place} of all {len(candidates)}, {_score(one, by)}"
        home = one.clusters[0] if one.clusters else None
        rank, size = ranks.get(one.index, (place, 0))
        if home is not None:
            why += f"; number {rank} of {size} in cluster {home}"
        choices.append(Choice(one.index, one.id, home, rank, one.score, why))
    return choices


def _members(candidates: Sequence[_Candidate]) -> dict[int, list[_Candidate]]:
    """The rows of each cluster, the best first."""
    members: dict[int, list[_Candidate]] = {}
    for one in sorted(candidates, key=lambda one: one.order):
        for number in one.clusters:
            members.setdefault(number, []).append(one)
    return members


def _taken(candidates: Sequence[_Candidate], choices: Sequence[Choice]) -> dict[int, int]:
    """Number of chosen rows of each cluster, zeros included."""
    counts = Counter(choice.cluster for choice in choices)
    return {number: counts[number] for number in sorted({number for one in candidates for number in one.clusters})}


def _score(one: _Candidate, by: str) -> str:
    return f"no {by}" if one.score is None else f"{by} {one.score:.2f}"


def _candidates(dataset: Dataset, allocate: Allocation, by: str) -> list[_Candidate]:
    """The columns that the selection reads, checked."""
    _demand(dataset, allocate, by)
    homes = ("cluster",) if allocate == "global" else ("clusters", "cluster")
    read = ("id", by, *homes, "rejection", *_TEXTS)
    have = [name for name in dict.fromkeys(read) if name in dataset.column_names]
    clustered = any(name in have for name in homes)
    candidates = []
    for index, row in enumerate(iterate(dataset.select_columns(have))):
        clusters = _clusters_of(row, homes)
        if row.get("rejection") is not None or (clustered and not clusters):
            raise DataError(f"select: row {row['id']!r} is rejected or has no cluster; take split_rejected(dataset)[0]")
        score = row[by]
        finite = score is not None and math.isfinite(score)
        candidates.append(_Candidate(index, row["id"], clusters, float(score) if finite else None, _digest(row)))
    twice = [row_id for row_id, count in Counter(one.id for one in candidates).items() if count > 1]
    if twice:
        raise DataError(f"select needs different ids; {twice[0]!r} stands there twice")
    return candidates


def _digest(row: Row) -> bytes:
    """Of the texts of a row; empty where it has no instruction or no response."""
    if "instruction" not in row or "response" not in row:
        return b""
    said = json.dumps([row.get(name) for name in _TEXTS]).encode()
    return hashlib.blake2b(said, digest_size=16).digest()


def _clusters_of(row: Row, homes: Sequence[str]) -> tuple[int, ...]:
    """The clusters of a row, without repetitions; none if it has none."""
    several, home = row.get("clusters") if "clusters" in homes else None, row.get("cluster")
    return tuple(dict.fromkeys(several)) if several else () if home is None else (home,)


def _demand(dataset: Dataset, allocate: Allocation, by: str) -> None:
    """Raise if a column that is needed is missing, or that of the scores holds no numbers."""
    have = dataset.column_names
    steps = {"id": "prepare", by: _WRITERS.get(by, "the step that scores the rows")}
    missing = [name for name in steps if name not in have]
    if allocate != "global" and "clusters" not in have and "cluster" not in have:
        missing.append("cluster")
        steps["cluster"] = "add_clusters (step cluster)"
    if missing:
        raise DataError(
            f"select needs the columns {', '.join(missing)}; the data set has: {', '.join(have)}; apply "
            f"{', '.join(steps[name] for name in missing)} first"
        )
    kind = getattr(dataset.features[by], "dtype", "list")
    if not kind.startswith(_NUMBERS):
        raise DataError(f"select.by: expected a column of numbers, got {by} of type {kind}; name another column")
