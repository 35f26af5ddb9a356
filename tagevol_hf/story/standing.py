"""Why a row was not chosen: where it stood among those that it competed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from datasets import Dataset

from ..report.columns import tables
from ..report.values import mapping_of, number_of
from .folder import Folder, Row, all_with

_PICKS = ("select", "baseline")
_SAID = ("history", "instruction", "input", "response")


def standing_of(folder: Folder, row: Row) -> str:
    """Its place in each of its clusters, how many of the cluster were chosen, and what the last of these had."""
    step = _pick(folder.record)
    options = mapping_of(step.get("summary"))
    by = str(options.get("by") or "")
    if by not in row:
        way = f" ({options['method']})" if options.get("method") else ""
        return f"the step {step.get('name', 'select')}{way} left it out"
    if not _is_score(row.get(by)):
        return f"it has no {by}, and rows without one come last"
    if twin := _twin(folder.piles.get("selected"), row):
        return f"it says the same as {twin}, which was chosen"
    clusters = [None] if options.get("allocate") == "global" else clusters_of(row)
    return "; ".join(_place(folder, row, by, cluster) for cluster in clusters)


def clusters_of(row: Row) -> list[int]:
    """The clusters of a row, its home first."""
    every = [row.get("cluster"), *(row.get("clusters") or ())]
    return list(dict.fromkeys(number for number in every if number is not None))


def _pick(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The step that chose."""
    return next((step for step in record.get("steps", ()) if step.get("name") in _PICKS), {})


def _place(folder: Folder, row: Row, by: str, cluster: int | None) -> str:
    chosen = list(_scores(folder.piles.get("selected"), by, cluster))
    left = list(_scores(folder.piles.get("not_chosen"), by, cluster))
    own = (-float(row[by]), str(row["id"]))
    rank = 1 + sum((-score, one) < own for score, one in (*chosen, *left))
    where = "of all rows" if cluster is None else f"in cluster {cluster}"
    told = f"number {rank:,} of {len(chosen) + len(left):,} {where} by {by} {row[by]:.2f}"
    if not chosen:
        return f"{told}; none of them was chosen"
    return f"{told}; {len(chosen):,} of them were chosen, the last with {min(score for score, _ in chosen):.2f}"


def _scores(rows: Dataset | None, by: str, cluster: int | None) -> Iterator[tuple[float, str]]:
    """(score, id) of the rows of a cluster that have a score."""
    homes = [name for name in ("cluster", "clusters") if rows and name in rows.column_names]
    for table in tables(rows, "id", by, *homes):
        for row in table.to_pylist():
            if _is_score(row[by]) and (cluster is None or cluster in clusters_of(row)):
                yield float(row[by]), str(row["id"])


def _is_score(value: Any) -> bool:
    return number_of(value) is not None and isfinite(value)


def _twin(chosen: Dataset | None, row: Row) -> str:
    """A chosen row that says the same."""
    texts = {name: row.get(name) for name in _SAID}
    same = all_with(chosen, "instruction", str(row.get("instruction") or ""))
    return next((str(other["id"]) for other in same if {name: other.get(name) for name in _SAID} == texts), "")
