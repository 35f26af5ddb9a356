"""All comparisons of a data set: one round, or for the plan "swiss" several, in which near scores meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from datasets import Dataset, concatenate_datasets

from ..rows import seed_for
from ..stage import Stage
from . import swiss
from .pairing import Field, Orders, Pair, check_plan
from .plans import Plan
from .scores import fold_scores

_STEP = "pairs"


def compare_rows(
    dataset: Dataset,
    comparer: Stage,
    *,
    plan: Plan = "k-regular",
    comparisons: int = 2,
    orders: Orders = "both",
    seed: int = 42,
    tell: Callable[[Dataset, int], None] = lambda planned, total: None,
) -> Dataset:
    """Plan the pairs of a data set and compare them (fan, map).

    The plan "swiss" has `comparisons` rounds. In the first one rows meet as drawn; before each further one the rows
    of a cluster are sorted by their scores so far, and each meets the next that it has not met. Clusters that are too
    small for that, and lone rows, have all their comparisons in the first round. It uses each row's home cluster.

    Args:
        dataset: As for `pairs`.
        comparer: Writes `first_score` and `second_score`; a `Comparer`.
        plan: Who meets whom; see `plans.links`.
        comparisons: How many others each row meets at least, >= 1.
        orders: As for `pairs`.
        seed: Seed of the draws.
        tell: Called before anything is asked with the pair-rows of the first round and the number of all.

    Returns:
        All pair-rows as the comparer leaves them, the failed ones included; `round` counts from 1.

    Raises:
        DataError: As `pairs`.
        EngineError: If the engine fails.
    """
    field = Field.of(dataset)
    check_plan(plan, comparisons)
    if plan != "swiss":
        planned = field.pair_rows(field.planned(plan, comparisons, seed), orders, seed)
        tell(planned, len(planned))
        return comparer.apply(planned)
    return _tournament(_homes(field, dataset), comparer, comparisons, orders, seed, tell)


def _homes(field: Field, dataset: Dataset) -> Field:
    """Each row in its home cluster alone."""
    homes = dict(zip(dataset["id"], dataset["cluster"], strict=True))
    return Field({row_id: (homes[row_id],) for row_id in field.clusters}, field.nearest, field.places, field.texts)


def _tournament(
    field: Field,
    comparer: Stage,
    rounds: int,
    orders: Orders,
    seed: int,
    tell: Callable[[Dataset, int], None],
) -> Dataset:
    members = field.members("swiss", seed)
    large = {number: ids for number, ids in members.items() if swiss.has_rounds(len(ids), rounds)}
    first = {pair: number for pair, number in field.planned("swiss", rounds, seed).items() if number not in large}
    first |= {pair: number for number, ids in large.items() for pair in swiss.first_round(ids)}
    planned = field.pair_rows(dict(sorted(first.items())), orders, seed)
    a_round = sum(-(-len(ids) // 2) for ids in large.values()) * (2 if orders == "both" else 1)
    tell(planned, len(planned) + (rounds - 1) * a_round)

    met, played = set(first), [comparer.apply(planned)]
    twice = _twice(first, large)
    for number in range(2, rounds + 1) if large else ():
        ranks = _ranked(large, played, seed)
        pairs = {pair: cluster for cluster, ids in ranks.items() for pair in swiss.next_round(ids, met, twice)}
        met.update(pairs)
        twice.update(_twice(pairs, large))
        played.append(comparer.apply(field.pair_rows(dict(sorted(pairs.items())), orders, seed, number)))
    return concatenate_datasets(played)


def _ranked(large: Mapping[int, Sequence[str]], played: Sequence[Dataset], seed: int) -> dict[int, list[str]]:
    """The rows of each cluster by descending score; one whose comparisons all failed stands in the middle."""
    scores = fold_scores(concatenate_datasets(list(played)))
    ranked = {}
    for number, ids in large.items():
        known = [scores[row_id].value for row_id in ids if row_id in scores]
        middle = sorted(known)[len(known) // 2] if known else 0.0
        values = {row_id: scores[row_id].value if row_id in scores else middle for row_id in ids}
        ranked[number] = sorted(ids, key=lambda row_id: (-values[row_id], seed_for(seed, row_id, _STEP), row_id))
    return ranked


def _twice(pairs: Mapping[Pair, int], large: Mapping[int, Sequence[str]]) -> Counter[str]:
    """Rows of large clusters that are in two pairs of a round."""
    counts = Counter(row_id for pair, number in pairs.items() if number in large for row_id in pair)
    return Counter({row_id: 1 for row_id, count in counts.items() if count > 1})
