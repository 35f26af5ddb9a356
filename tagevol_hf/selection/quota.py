"""How many rows each cluster gives: allocations of n places over clusters of known sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, TypeAlias

from ..errors import DataError

Allocation: TypeAlias = Literal["equal", "proportional", "sqrt", "global"]
Sizes: TypeAlias = Mapping[int, int]


def quota(sizes: Sizes, n: int, allocate: Allocation = "equal") -> dict[int, int]:
    """How many rows to take of each cluster; no cluster gives more than it has.

    Args:
        sizes: Rows of each cluster, >= 0.
        n: How many rows in all, >= 0; the sum of the result is exactly min(n, sum of the sizes).
        allocate: "equal" gives equal shares, from the smallest cluster on (ties: the lower number), and carries what
            a small one lacks on to larger ones; "proportional" gives shares as the sizes are, "sqrt" as their square
            roots are, both by the largest remainder (ties: the larger cluster, then the lower number).

    Returns:
        The number of rows by cluster, in the order of the clusters' numbers.

    Raises:
        DataError: If n is negative, or `allocate` is none of the three; "global" has no quotas before the scores are
            known.
    """
    if n < 0:
        raise DataError(f"quota.n: expected 0 or more, got {n}")
    if allocate not in _SHARES:
        raise DataError(f"quota.allocate: expected {', '.join(_SHARES)} (sizes alone decide), got {allocate!r}")
    shares = _SHARES[allocate](sizes, min(n, sum(sizes.values())))
    return dict(sorted(shares.items()))


def _equal(sizes: Sizes, n: int) -> dict[int, int]:
    taken: dict[int, int] = {}
    for place, number in enumerate(sorted(sizes, key=lambda number: (sizes[number], number))):
        taken[number] = min(sizes[number], n // (len(sizes) - place))
        n -= taken[number]
    return taken


def _proportional(sizes: Sizes, n: int) -> dict[int, int]:
    return _largest_remainder(sizes, {number: Fraction(size) for number, size in sizes.items()}, n)


def _square_root(sizes: Sizes, n: int) -> dict[int, int]:
    return _largest_remainder(sizes, {number: Fraction(math.sqrt(size)) for number, size in sizes.items()}, n)


def _largest_remainder(sizes: Sizes, weights: Mapping[int, Fraction], n: int) -> dict[int, int]:
    """Shares as the weights are; clusters that their share would overdraw give all, and the others share the rest."""
    full: dict[int, int] = {}
    rest = {number: weight for number, weight in weights.items() if weight}
    while True:
        left, total = n - sum(full.values()), sum(rest.values(), Fraction(0))
        shares = {number: left * weight / total for number, weight in rest.items()}
        over = [number for number, share in shares.items() if share > sizes[number]]
        if not over:
            break
        full.update({number: sizes[number] for number in over})
        rest = {number: weight for number, weight in rest.items() if number not in full}
    taken = {**dict.fromkeys(sizes, 0), **full, **{number: int(share) for number, share in shares.items()}}
    by_remainder = sorted(shares, key=lambda number: (int(shares[number]) - shares[number], -sizes[number], number))
    for number in by_remainder[: n - sum(taken.values())]:
        taken[number] += 1
    return taken


_SHARES: Mapping[str, Callable[[Sizes, int], dict[int, int]]] = MappingProxyType(
    {"equal": _equal, "proportional": _proportional, "sqrt": _square_root}
)
