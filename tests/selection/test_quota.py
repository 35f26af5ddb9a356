import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.selection.quota import quota

SIZES = st.lists(st.integers(0, 30), max_size=12)


def test_small_clusters_give_all_and_the_larger_ones_the_rest():
    assert quota({0: 10, 1: 1, 2: 10}, 20) == {0: 9, 1: 1, 2: 10}
    assert quota({0: 3, 1: 3}, 3) == {0: 1, 1: 2}
    assert quota({0: 3, 1: 2}, 9) == {0: 3, 1: 2}
    assert quota({}, 5) == {}


def test_shares_as_the_sizes_are_or_as_their_roots_are():
    assert quota({0: 90, 1: 10}, 10, "proportional") == {0: 9, 1: 1}
    assert quota({0: 50, 1: 30, 2: 20}, 7, "proportional") == {0: 4, 1: 2, 2: 1}  # 3.5, 2.1, 1.4
    assert quota({0: 3, 1: 3, 2: 4}, 2, "proportional") == {0: 1, 1: 0, 2: 1}  # 0.6, 0.6, 0.8: the lower number
    assert quota({0: 81, 1: 9, 2: 1}, 13, "sqrt") == {0: 9, 1: 3, 2: 1}
    assert quota({0: 100, 1: 1, 2: 1}, 24, "sqrt") == {0: 22, 1: 1, 2: 1}  # 20, 2, 2, but there is only one
    for allocate in ("proportional", "sqrt"):
        assert quota({3: 2, 1: 0}, 9, allocate) == {1: 0, 3: 2}
        assert quota({0: 0}, 4, allocate) == {0: 0}
        assert quota({}, 4, allocate) == {}


@pytest.mark.parametrize("allocate", ["equal", "proportional", "sqrt"])
@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 400))
def test_exactly_n_and_never_more_than_there_is(allocate, sizes, n):
    taken = quota(dict(enumerate(sizes)), n, allocate)
    assert list(taken) == list(range(len(sizes)))
    assert sum(taken.values()) == min(n, sum(sizes))
    assert all(0 <= count <= sizes[number] for number, count in taken.items())
    for (one, count), (other, others) in itertools.combinations(taken.items(), 2):
        if sizes[one] == sizes[other]:  # equal clusters get equal shares, give or take one
            assert abs(count - others) <= 1
        elif sizes[one] < sizes[other]:
            assert count <= others  # a larger cluster never gets less


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 400))
def test_equal_shares_are_fair(sizes, n):
    taken = quota(dict(enumerate(sizes)), n)
    for number, count in taken.items():
        if count < sizes[number]:  # nobody has more than one above a cluster that still has rows
            assert all(other <= count + 1 for other in taken.values())


def allocations(sizes, n):
    """All ways to take n rows."""
    return [taken for taken in itertools.product(*(range(size + 1) for size in sizes)) if sum(taken) == n]


WEIGHTS = {"equal": lambda size: 1, "proportional": lambda size: size, "sqrt": math.sqrt}


@pytest.mark.parametrize("allocate", list(WEIGHTS))
@pytest.mark.parametrize("sizes", [(1, 1, 6), (2, 3, 5), (4, 4, 4), (0, 1, 7), (1, 5, 5, 6), (9,)])
def test_no_other_allocation_is_closer_to_the_ideal_shares(allocate, sizes):
    for n in range(sum(sizes) + 1):
        taken = quota(dict(enumerate(sizes)), n, allocate)
        ideal = ideal_shares(sizes, n, WEIGHTS[allocate])
        distances = {
            way: round(sum((a - b) ** 2 for a, b in zip(way, ideal, strict=True)), 9) for way in allocations(sizes, n)
        }
        assert distances[tuple(taken.values())] == min(distances.values())


def ideal_shares(sizes, n, weight):
    """Real shares min(size, level x weight) whose sum is n, by bisection of the level."""
    low, high = 0.0, 1e3
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if sum(min(s, level * weight(s)) for s in sizes) < n else (low, level)
    return [min(size, high * weight(size)) for size in sizes]


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"quota\.n: expected 0 or more, got -1"):
        quota({0: 1}, -1)
    with pytest.raises(DataError, match=r"expected equal, proportional, sqrt \(sizes alone decide\), got 'global'"):
        quota({0: 1}, 1, "global")
