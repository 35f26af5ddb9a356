from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.selection.plans import PLANS, links, regular_links


@settings(max_examples=120, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12))
def test_links_are_regular_with_the_fewest_possible(size, degree):
    links = regular_links(size, degree)
    reached = min(degree, size - 1)
    assert len({frozenset(link) for link in links}) == len(links) == -(-size * reached // 2)
    assert all(first != second for first, second in links)
    counts = Counter(place for link in links for place in link)
    assert min(counts[place] for place in range(size)) == reached
    assert max(counts.values()) <= reached + size % 2 * reached % 2


@pytest.mark.parametrize("plan", PLANS)
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12))
def test_every_place_has_enough_links_by_every_plan(plan, size, degree):
    found = links(plan, size, degree)
    assert len({frozenset(link) for link in found}) == len(found)
    counts = Counter(place for link in found for place in link)
    assert min(counts[place] for place in range(size)) >= min(degree, size - 1)


def test_neighbours_are_compared_and_an_odd_last_one_is_not_dropped():
    assert links("adjacent", 6, 1) == [(0, 1), (2, 3), (4, 5)]
    assert links("adjacent", 5, 1) == [(0, 1), (2, 3), (3, 4)]
    assert links("adjacent", 5, 2) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]


@given(st.integers(2, 30), st.integers(1, 6))
def test_all_meet_the_same_anchors(size, degree):
    found = links("anchor", size, degree)
    anchors = set(range(min(degree, size - 1)))
    assert len(found) == len(anchors) * (size - len(anchors)) + len(anchors) * (len(anchors) - 1) // 2
    assert all(anchors.intersection(link) for link in found)
