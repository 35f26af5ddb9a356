"""One row for each set of clusters, by a named choice (TACOS' released code keeps the longest response, unsaid)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from datasets import Dataset, Features

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, rejection, with_columns

Keep: TypeAlias = Literal["longest", "first", "none"]

_NEEDS = ("id", "labels", "clusters")


def keep_one_per_label_set(dataset: Dataset, keep: Keep = "longest") -> Dataset:
    """Reject all but one of the rows whose labels lie in the same set of clusters.

    It is meant for rows that belong to several clusters (`add_clusters` with assign="release"); under "paper" a
    single row of each cluster would be left. The rows of the rest cluster, which have no labels, all stay.

    Args:
        dataset: Rows with the columns `id`, `labels` and `clusters`, and `response` for "longest".
        keep: "longest" keeps the row with the longest response in characters (ties: the smaller id), whatever the
            order of rows; this prefers long answers. "first" keeps the first in the order of the data set. "none"
            chooses none to be kept: all rows stay, and the data set is given back as it is.

    Returns:
        All rows in order; those that lost have a `rejection` with the reason "same_clusters" and the kept row's id.

    Raises:
        DataError: If `keep` is unknown, a column is missing, or an id stands there twice.
    """
    if keep not in get_args(Keep):
        raise DataError(f"cluster.same_labels: expected {', '.join(get_args(Keep))}, got {keep!r}")
    if keep == "none":
        return dataset
    kept = _kept(dataset, keep)

    def read(row: Row) -> dict[str, Any]:
        mark = row.get("rejection")
        winner = None if mark else kept.get(_key(row))
        if winner is None or winner == row["id"]:
            return {"rejection": mark}
        return {"rejection": rejection("cluster", "same_clusters", f"{winner} was kept ({keep})")}

    return with_columns(dataset, read, Features({"rejection": REJECTION}))


def _kept(dataset: Dataset, keep: Keep) -> dict[tuple[int, ...], str]:
    """The id of the row that is kept, by set of clusters."""
    best: dict[tuple[int, ...], tuple[int, str]] = {}
    seen: set[str] = set()
    for place, row in enumerate(iterate(_needed(dataset, keep))):
        if row["id"] in seen:
            raise DataError(f"cluster needs different ids; {row['id']!r} stands there twice")
        seen.add(row["id"])
        key = _key(row)
        if row.get("rejection") is None and key:
            order = -len(row["response"] or "") if keep == "longest" else place
            best[key] = min(best.get(key, (order, row["id"])), (order, row["id"]))
    return {key: row_id for key, (_, row_id) in best.items()}


def _key(row: Row) -> tuple[int, ...]:
    """The row's set of clusters; empty for a row without labels."""
    return tuple(sorted(set(row["clusters"] or ()))) if row["labels"] else ()


def _needed(dataset: Dataset, keep: Keep) -> Dataset:
    """The columns that decide."""
    needs = (*_NEEDS, "response") if keep == "longest" else _NEEDS
    missing = [name for name in needs if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"cluster: to keep the {keep} of each set of clusters, the columns {', '.join(missing)} are needed; the "
            f"data set has: {', '.join(dataset.column_names)}; apply add_clusters first"
        )
    return dataset.select_columns([name for name in (*needs, "rejection") if name in dataset.column_names])
