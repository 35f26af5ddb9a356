"""Rows side by side, to be compared: a plan inside each cluster, drawn from the rows' ids (TACOS, section 3.2).

The released code of the paper compares neighbours once and drops an odd last row; here every row is compared at least
`comparisons` times, whatever the plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset, Features, Value

from ..errors import DataError
from ..rows import REJECTION, iterate, seed_for
from ..tags.taggers import text_of
from .plans import PLANS, Plan, links

Orders = Literal["both", "one"]
Pair = tuple[str, str]

_STEP = "pairs"
_BLOCK = 1000  # pair-rows
_NEEDS = ("id", "instruction", "response", "cluster")

PAIR_FEATURES = Features(
    {
        "id": Value("string"),
        "cluster": Value("int64"),
        "across": Value("bool"),
        "round": Value("int64"),
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
    dataset: Dataset,
    *,
    plan: Plan = "k-regular",
    comparisons: int = 2,
    orders: Orders = "both",
    seed: int = 42,
) -> Dataset:
    """The rows to be compared, side by side (a fan; asks nothing).

    Inside a cluster of m rows each row meets at least min(comparisons, m - 1) different others; `plans.links` says
    with which. A row that belongs to several clusters (`clusters`) takes part in each of them; two rows that meet in
    two clusters are one pair. The only row of a cluster meets rows of the nearest cluster that has any
    (`nearest_other` of `add_clusters`; the largest one where that is not known), and the pair says so by `across`.
    A row that is alone in the whole data set is in no pair. Rejected rows take no part.

    A pair-row has the id "first_id|second_id", both instructions (earlier user turns before, additional input after)
    and both responses. The plan is drawn from the rows' ids: row order has no say, but in the plan "adjacent".

    Args:
        dataset: Rows with the columns `id`, `instruction`, `response` and `cluster`.
        plan: Who meets whom; "swiss" needs scores between its rounds: see `rounds.compare_rows`.
        comparisons: How many others each row meets at least, >= 1.
        orders: "both": each pair is shown in both orders, as two pair-rows, against position bias. "one": in one
            order, drawn at random.
        seed: Seed of the draw.

    Raises:
        DataError: If a column is missing, an id stands there twice, or a value is out of range.
    """
    if plan == "swiss":
        raise DataError('pairs: the plan "swiss" has rounds, with replies in between; use compare_rows')
    field = Field.of(dataset)
    return field.pair_rows(field.planned(plan, comparisons, seed), orders, seed)


@dataclass(frozen=True)
class Field:
    """The rows that take part, in the order of the data set.

    Attributes:
        clusters: The clusters of each row, by id.
        nearest: The nearest other cluster of each row, by id; None where it is not known.
        places: Place of each row in `texts`, by id.
        texts: Instruction and response of each row.
    """

    clusters: Mapping[str, Sequence[int]]
    nearest: Mapping[str, int | None]
    places: Mapping[str, int]
    texts: Mapping[str, pa.Array]

    @classmethod
    def of(cls, dataset: Dataset) -> Field:
        """Read the rows that are not rejected.

        Raises:
            DataError: If a column is missing, an id stands there twice, or a row has no cluster.
        """
        missing = [name for name in _NEEDS if name not in dataset.column_names]
        if missing:
            raise DataError(
                f"pairs need the columns {', '.join(missing)}; the data set has: {', '.join(dataset.column_names)}; "
                "apply add_clusters first"
            )
        names = [*_NEEDS, "input", "history", "clusters", "nearest_other", "rejection"]
        clusters: dict[str, Sequence[int]] = {}
        nearest: dict[str, int | None] = {}
        instructions, responses = [], []
        for row in iterate(dataset.select_columns([name for name in names if name in dataset.column_names])):
            if row.get("rejection") is not None:
                continue
            if row["id"] in clusters:
                raise DataError(f"pairs need different ids; {row['id']!r} stands there twice")
            if row["cluster"] is None:
                raise DataError(f"pairs need a cluster for each row; {row['id']!r} has none; apply add_clusters first")
            clusters[row["id"]] = tuple(row.get("clusters") or (row["cluster"],))
            nearest[row["id"]] = row.get("nearest_other")
            instructions.append(text_of(row))
            responses.append(row["response"] or "")
        texts = {"instruction": instructions, "response": responses}
        columns = {name: pa.array(values, pa.large_string()) for name, values in texts.items()}
        return cls(clusters, nearest, {row_id: place for place, row_id in enumerate(clusters)}, columns)

    def members(self, plan: Plan, seed: int) -> dict[int, list[str]]:
        """The rows of each cluster: in the order of the data set for "adjacent", else in an order drawn from ids."""
        ids: Iterable[str] = self.clusters
        if plan != "adjacent":
            ids = sorted(self.clusters, key=lambda row_id: (seed_for(seed, row_id, _STEP), row_id))
        found: dict[int, list[str]] = {}
        for row_id in ids:
            for number in self.clusters[row_id]:
                found.setdefault(number, []).append(row_id)
        return found

    def planned(self, plan: Plan, comparisons: int, seed: int) -> dict[Pair, int]:
        """The cluster for whose sake two rows are compared, by their ids, the smaller first; sorted, each pair once.

        Raises:
            DataError: If the plan is unknown or the number of comparisons below 1.
        """
        check_plan(plan, comparisons)
        members = self.members(plan, seed)
        if plan in ("k-regular", "swiss") and all(len(numbers) == 1 for numbers in self.clusters.values()):
            return self._regular(members, comparisons, seed)
        planned: dict[Pair, int] = {}
        for number, ids in sorted(members.items()):
            if len(ids) > 1:
                met = [(ids[first], ids[second]) for first, second in links(plan, len(ids), comparisons)]
            else:
                met = self.abroad(number, members, comparisons, seed)
            for first, second in met:
                planned.setdefault(pair_of(first, second), number)
        return dict(sorted(planned.items()))

    def _regular(self, members: Mapping[int, Sequence[str]], comparisons: int, seed: int) -> dict[Pair, int]:
        """Circles over the clusters; those of too few rows for a circle share one with their nearest."""
        planned: dict[Pair, int] = {}
        for group in self._circles(members, comparisons):
            ids = list(itertools.chain(*(members[number] for number in group)))
            if len(group) > 1:
                ids.sort(key=lambda row_id: (seed_for(seed, row_id, _STEP), row_id))
            for first, second in links("k-regular", len(ids), comparisons) if len(ids) > 1 else ():
                one, two = ids[first], ids[second]
                homes = self.clusters[one][0], self.clusters[two][0]
                planned[pair_of(one, two)] = min(homes, key=lambda number: (len(members[number]), number))
        return dict(sorted(planned.items()))

    def _circles(self, members: Mapping[int, Sequence[str]], comparisons: int) -> list[list[int]]:
        """The clusters that share a circle; the smallest ones first look for another, until there are rows enough."""
        circle = {number: [number] for number in sorted(members)}
        for number in sorted(members, key=lambda number: (len(members[number]), number)):
            while sum(len(members[one]) for one in circle[number]) <= comparisons:
                others = set(members).difference(circle[number])
                if not others:
                    break
                nearest = self.nearest[members[number][0]]
                other = nearest if nearest in others else min(others, key=lambda one: (-len(members[one]), one))
                joined = sorted({*circle[number], *circle[other]})
                circle.update(dict.fromkeys(joined, joined))
        return list({tuple(group): group for group in circle.values()}.values())

    def abroad(self, number: int, members: Mapping[int, Sequence[str]], comparisons: int, seed: int) -> list[Pair]:
        """The only row of a cluster with some rows of a cluster that it is not in; none if there is no such row."""
        lone = members[number][0]
        others = set(members).difference(self.clusters[lone])
        if not others:
            return []
        nearest = self.nearest[lone]
        chosen = nearest if nearest in others else min(others, key=lambda other: (-len(members[other]), other))
        drawn = sorted(members[chosen], key=lambda other: (seed_for(seed, pair_id(lone, other), _STEP), other))
        return [(lone, other) for other in drawn[:comparisons]]

    def pair_rows(self, planned: Mapping[Pair, int], orders: Orders, seed: int, number: int = 1) -> Dataset:
        """The pair-rows of planned pairs; `number` is that of the round.

        Raises:
            DataError: If the orders are unknown.
        """
        if orders not in ("both", "one"):
            raise DataError(f'compare.orders: expected "both" or "one", got {orders!r}')
        ordered = [(*shown, cluster) for pair, cluster in planned.items() for shown in _orders(*pair, orders, seed)]
        columns: dict[str, Any] = {
            "id": [pair_id(first, second) for first, second, _ in ordered],
            "cluster": [cluster for _, _, cluster in ordered],
            "across": [not set(self.clusters[one]) & set(self.clusters[two]) for one, two, _ in ordered],
            "round": [number] * len(ordered),
            "rejection": [None] * len(ordered),
        }
        for side, name in enumerate(("first", "second")):
            columns[f"{name}_id"] = [pair[side] for pair in ordered]
            places = [self.places[str(pair[side])] for pair in ordered]
            for part, values in self.texts.items():
                columns[f"{name}_{part}"] = _taken(values, places)
        return Dataset.from_dict({name: columns[name] for name in PAIR_FEATURES}, features=PAIR_FEATURES)


def check_plan(plan: str, comparisons: int) -> None:
    """Refuse an unknown plan, and less than one comparison.

    Raises:
        DataError: Says what was expected.
    """
    if plan not in PLANS:
        raise DataError(f"compare.plan: expected one of {', '.join(PLANS)}, got {plan!r}")
    if comparisons < 1:
        raise DataError(f"compare.comparisons: expected at least 1, got {comparisons}")


def pair_of(first: str, second: str) -> Pair:
    """Two ids, the smaller first."""
    return (min(first, second), max(first, second))


def pair_id(first: str, second: str) -> str:
    """Both ids with "|" between; one inside an id is escaped, so that no two pairs have the same."""
    return "|".join(row_id.replace("\\", "\\\\").replace("|", "\\|") for row_id in (first, second))


def _orders(first: str, second: str, orders: Orders, seed: int) -> list[Pair]:
    if orders == "both":
        return [(first, second), (second, first)]
    swapped = seed_for(seed, pair_id(first, second), _STEP, 1) % 2
    return [(second, first) if swapped else (first, second)]


def _taken(values: pa.Array, places: Sequence[int]) -> pa.ChunkedArray:
    """The values at some places, in blocks that stay below Arrow's 2 GiB a block of text."""
    starts = range(0, max(1, len(places)), _BLOCK)
    blocks = [values.take(pa.array(places[start : start + _BLOCK], pa.int64())) for start in starts]
    return pa.chunked_array(blocks, type=pa.large_string())
