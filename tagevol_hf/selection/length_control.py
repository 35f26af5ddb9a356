"""A score without what the length of the response explains of it (in the manner of length-controlled win rates)."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, Features, Value
from numpy.typing import NDArray

from ..errors import DataError
from ..rows import columns_of, iterate

LENGTH_CONTROLLED = Features({"length_controlled_score": Value("float64")})

Vector = NDArray[np.float64]

_TERMS, _ROWS_A_TERM, _DIGITS = 3, 10, 6


def control_length(dataset: Dataset, by: str = "score", within: str = "cluster") -> Dataset:
    """The data set with `length_controlled_score`: the score as if all responses were of average length.

    One regression over all rows with a score: the score on up to three powers of the standardised logarithm of the
    response's length in characters, with an effect of each cluster. What length explains is taken away and the score
    put back at the mean of log length. There is one power for each ten rows beyond the number of clusters, so few
    rows, or responses of one length, leave the scores as they are. A row without a score keeps null.

    It cannot tell a judge's liking for length from quality that truly goes with length: where longer answers are
    better, that is removed as well. The result may lie outside of the score's range.

    Args:
        dataset: Rows with the score, the group and `response`.
        by: Column of the score.
        within: Column of the group whose mean is not attributed to length; rows without one are a group of their own.

    Raises:
        DataError: If a column is missing.
    """
    missing = [name for name in (by, within, "response") if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"control_length needs the columns {', '.join(missing)}; the data set has: "
            f"{', '.join(dataset.column_names)}; apply add_clusters and add_scores first"
        )
    rows = list(iterate(dataset.select_columns(list(dict.fromkeys((by, within, "response"))))))
    known = [place for place, row in enumerate(rows) if row[by] is not None]
    scores = np.array([rows[place][by] for place in known], np.float64)
    lengths = np.log1p(np.array([len(rows[place]["response"] or "") for place in known], np.float64))
    names = sorted({str(rows[place][within]) for place in known})
    groups = np.searchsorted(names, [str(rows[place][within]) for place in known])
    order = np.lexsort((scores, lengths, groups))  # sums of floats depend on their order; that of rows has no say
    explained = np.empty(len(known))
    explained[order] = _explained(scores[order], lengths[order], groups[order])
    controlled: list[float | None] = [None] * len(rows)
    for place, value in zip(known, scores - explained, strict=True):
        controlled[place] = round(float(value), _DIGITS)
    return _with(dataset, controlled)


def _explained(scores: Vector, lengths: Vector, groups: NDArray[np.int64]) -> Vector:
    """What length adds to each score, beyond what the mean length has."""
    count = len(set(groups.tolist()))
    spread = float(lengths.std()) if len(lengths) else 0.0
    terms = min(_TERMS, max(0, len(scores) - count) // _ROWS_A_TERM)
    if spread < 1e-9 or terms == 0:
        return np.zeros(len(scores))
    standard = (lengths - lengths.mean()) / spread
    basis = np.stack([standard**power for power in range(1, terms + 1)], axis=1)
    inside = np.stack([_centred(column, groups) for column in basis.T], axis=1)
    weights = np.linalg.lstsq(inside, _centred(scores, groups), rcond=None)[0]
    return np.asarray(basis @ weights)


def _centred(values: Vector, groups: NDArray[np.int64]) -> Vector:
    """Values minus the mean of their group."""
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]


def _with(dataset: Dataset, controlled: list[float | None]) -> Dataset:
    kept = dataset.remove_columns([name for name in LENGTH_CONTROLLED if name in dataset.column_names])
    rows = [{"length_controlled_score": value} for value in controlled]
    column = columns_of(rows, LENGTH_CONTROLLED)["length_controlled_score"]
    return kept.add_column("length_controlled_score", column, feature=Value("float64"))
