"""Which rows are compared with which: a seeded random plan inside each cluster (TACOS, section 3.2).

The released code of the paper compares neighbours once and drops an odd last row; here every row is compared at least
`comparisons` times, with as few pairs as that takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset, Features, Value

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, seed_for
from ..tags.taggers import text_of

_STEP = "pairs"
_BLOCK = 1000  # pair-rows
_NEEDS = ("id", "instruction", "response", "cluster")

PAIR_FEATURES = Features(
    {
        "id": Value("string"),
        "cluster": Value("int64"),
        "across": Value("bool"),
        "first_id": Value("string"),
        "second_id": Value("string"),
        "first_instruction": Value("string"),
        "first_response": Value("string"),
        "second_instruction": Value("string"),
        "second_response": Value("string"),
        "rejection": REJECTION,
    }
)


def pairs(
    dataset: Dataset, *, comparisons: int = 2, orders: Literal["both", "one"] = "both", seed: int = 42
) -> Dataset:
    """The rows to be compared, side by side (a fan; asks nothing).

    Inside a cluster of m rows each row meets at least min(comparisons, m - 1) different others, in
    ceil(m * comparisons / 2) pairs. The only row of a cluster meets rows of the nearest cluster that has any
    (`nearest_other` of `add_clusters`; the largest one where that is not known), and the pair says so by `across`.
    A row that is alone in the whole data set is in no pair. Rejected rows take no part.

    A pair-row has the id "first_id|second_id", both instructions (earlier user turns before, additional input after)
    and both responses. The plan is drawn from the rows' ids: row order has no say.

    Args:
        dataset: Rows with the columns `id`, `instruction`, `response` and `cluster`.
        comparisons: How many others each row meets at least, >= 1.
        orders: "both": each pair is shown in both orders, as two pair-rows, against position bias. "one": in one
            order, drawn at random.
        seed: Seed of the draw.

    Raises:
        DataError: If a column is missing, an id stands there twice, or a number is out of range.
    """
    if comparisons < 1:
        raise DataError(f"compare.comparisons: expected at least 1, got {comparisons}")
    if orders not in ("both", "one"):
        raise DataError(f'compare.orders: expected "both" or "one", got {orders!r}')
    missing = [name for name in _NEEDS if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"pairs need the columns {', '.join(missing)}; the data set has: {', '.join(dataset.column_names)}; "
            "apply add_clusters first"
        )
    found, texts = _read(dataset)
    planned = plan_pairs(found, comparisons, seed)
    ordered = [(*shown, number) for pair, number in planned.items() for shown in _orders(*pair, orders, seed)]
    return _pair_rows(ordered, found, texts)


def plan_pairs(rows: Mapping[str, Row], comparisons: int, seed: int) -> dict[tuple[str, str], int]:
    """The cluster for whose sake two rows are compared, by their ids, the smaller first; sorted, each pair once.

    Args:
        rows: `cluster` and `nearest_other` of each row, by id.
        comparisons: As in `pairs`.
        seed: Seed of the draw.
    """
    clusters: dict[int, list[str]] = {}
    for row_id in sorted(rows, key=lambda row_id: (seed_for(seed, row_id, _STEP), row_id)):
        clusters.setdefault(rows[row_id]["cluster"], []).append(row_id)
    planned: dict[tuple[str, str], int] = {}
    for number, ids in clusters.items():
        if len(ids) > 1:
            links = regular_links(len(ids), comparisons)
            met = [(ids[first], ids[second]) for first, second in links]
        elif len(clusters) > 1:
            met = _abroad(ids[0], clusters[_neighbour(number, rows[ids[0]], clusters)], comparisons, seed)
        else:
            met = []
        for first, second in met:
            planned.setdefault((min(first, second), max(first, second)), number)
    return dict(sorted(planned.items()))


def regular_links(size: int, degree: int) -> list[tuple[int, int]]:
    """Links between the places 0..size-1 on a circle, so that each place has min(degree, size - 1) of them.

    Where size and degree are both odd, that cannot be: one place then has one more. The number of links is
    ceil(size * degree / 2), the fewest possible.

    Args:
        size: Number of places, >= 2.
        degree: Links of a place, >= 1.
    """
    degree = min(degree, size - 1)
    links = [(place, (place + step) % size) for step in range(1, degree // 2 + 1) for place in range(size)]
    if degree % 2 == 0:
        return links
    half = size // 2
    if size % 2 == 0:
        return links + [(place, place + half) for place in range(half)]
    # Steps of `half` visit all places of an odd circle in one round; every other step links them two by two.
    stops = [step * half % size for step in range(size + 1)]
    return links + list(zip(stops[::2], stops[1::2], strict=True))


def _neighbour(number: int, row: Row, clusters: Mapping[int, Sequence[str]]) -> int:
    """The cluster that a lone row is compared with."""
    nearest = row.get("nearest_other")
    if nearest is not None and nearest != number and nearest in clusters:
        return int(nearest)
    return min((other for other in clusters if other != number), key=lambda other: (-len(clusters[other]), other))


def _abroad(lone: str, others: Sequence[str], comparisons: int, seed: int) -> list[tuple[str, str]]:
    """A lone row with some rows of another cluster."""
    drawn = sorted(others, key=lambda other: (seed_for(seed, _pair_id(lone, other), _STEP), other))
    return [(lone, other) for other in drawn[:comparisons]]


def _orders(first: str, second: str, orders: str, seed: int) -> list[tuple[str, str]]:
    if orders == "both":
        return [(first, second), (second, first)]
    swapped = seed_for(seed, _pair_id(first, second), _STEP, 1) % 2
    return [(second, first) if swapped else (first, second)]


def _pair_id(first: str, second: str) -> str:
    """Both ids with "|" between; one inside an id is escaped, so that no two pairs have the same."""
    return "|".join(row_id.replace("\\", "\\\\").replace("|", "\\|") for row_id in (first, second))


def _read(dataset: Dataset) -> tuple[dict[str, dict[str, Any]], dict[str, pa.Array]]:
    """Place, cluster and neighbour of each row by id; instructions and responses in one column each."""
    names = [*_NEEDS, "input", "history", "nearest_other", "rejection"]
    found: dict[str, dict[str, Any]] = {}
    instructions, responses = [], []
    for row in iterate(dataset.select_columns([name for name in names if name in dataset.column_names])):
        if row.get("rejection") is not None:
            continue
        if row["id"] in found:
            raise DataError(f"pairs need different ids; {row['id']!r} stands there twice")
        if row["cluster"] is None:
            raise DataError(f"pairs need a cluster for each row; {row['id']!r} has none; apply add_clusters first")
        found[row["id"]] = {
            "place": len(found),
            "cluster": row["cluster"],
            "nearest_other": row.get("nearest_other"),
        }
        instructions.append(text_of(row))
        responses.append(row["response"] or "")
    texts = {"instruction": instructions, "response": responses}
    return found, {name: pa.array(values, pa.large_string()) for name, values in texts.items()}


def _pair_rows(
    ordered: Sequence[tuple[str, str, int]], found: Mapping[str, Row], texts: Mapping[str, pa.Array]
) -> Dataset:
    columns: dict[str, Any] = {
        "id": [_pair_id(first, second) for first, second, _ in ordered],
        "cluster": [number for _, _, number in ordered],
        "across": [found[first]["cluster"] != found[second]["cluster"] for first, second, _ in ordered],
        "rejection": [None] * len(ordered),
    }
    for side, name in enumerate(("first", "second")):
        columns[f"{name}_id"] = [pair[side] for pair in ordered]
        places = [found[str(pair[side])]["place"] for pair in ordered]
        for part, values in texts.items():
            columns[f"{name}_{part}"] = _taken(values, places)
    return Dataset.from_dict({name: columns[name] for name in PAIR_FEATURES}, features=PAIR_FEATURES)


def _taken(values: pa.Array, places: Sequence[int]) -> pa.ChunkedArray:
    """The values at some places, in blocks that stay below Arrow's 2 GiB a block of text."""
    starts = range(0, max(1, len(places)), _BLOCK)
    blocks = [values.take(pa.array(places[start : start + _BLOCK], pa.int64())) for start in starts]
    return pa.chunked_array(blocks, type=pa.large_string())
