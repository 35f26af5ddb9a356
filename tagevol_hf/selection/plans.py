"""Which places of a cluster are compared with which: the plans of comparative scoring (TACOS, section 3.2)."""

from __future__ import annotations

from typing import Literal, get_args

Plan = Literal["k-regular", "adjacent", "anchor", "swiss"]
PLANS: tuple[Plan, ...] = get_args(Plan)


def links(plan: Plan, size: int, degree: int) -> list[tuple[int, int]]:
    """Links between the places 0..size-1; each place has at least min(degree, size - 1) of them.

    - "k-regular": as few as that takes, ceil(size * degree / 2); over places in random order.
    - "adjacent": (0, 1), (2, 3), … as in the paper's released code, which drops an odd last place: here it is linked
      with the one before. With a degree above 1 each place is linked with its nearest on a circle.
    - "anchor": the first `degree` places are linked with all others: every row meets the same few.
    - "swiss" begins as "k-regular".

    Args:
        plan: One of `PLANS`.
        size: Number of places, >= 2.
        degree: Least number of links of a place, >= 1.
    """
    if plan == "anchor":
        return [(anchor, place) for anchor in range(min(degree, size - 1)) for place in range(anchor + 1, size)]
    if plan == "adjacent" and degree == 1:
        odd = [(size - 2, size - 1)] if size % 2 else []
        return [(place, place + 1) for place in range(0, size - 1, 2)] + odd
    return regular_links(size, degree)


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
