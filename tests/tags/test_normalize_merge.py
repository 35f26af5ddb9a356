"""The semantic step against a direct computation, and its memory where all names are neighbours."""

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tagevol_hf.tags.merge import join_near


@dataclass
class Given:
    """The vectors themselves, of names in the alphabet's order."""

    vectors: Any
    identity: str = "given"

    def encode(self, texts):
        assert list(texts) == names(len(self.vectors))
        return self.vectors


def names(count):
    return [f"t{number:05}" for number in range(count)]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def joined(vectors, eps):
    count = len(vectors)
    return join_near({name: count - place for place, name in enumerate(names(count))}, Given(vectors), eps)


def directly(vectors, eps):
    exact = vectors.astype(np.float64)
    groups = connected_components(exact @ exact.T >= 1 - max(eps, 1e-6), directed=False)[1]
    own = names(len(vectors))
    heads = {name: own[int(np.argmax(groups == group))] for name, group in zip(own, groups, strict=True)}
    return {name: head for name, head in heads.items() if head != name}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 900), st.integers(2, 6), st.sampled_from([0.0, 0.001, 0.05, 0.3]), st.integers(0, 99))
def test_groups_are_those_of_a_direct_computation(count, dimension, eps, seed):
    vectors = unit(np.random.default_rng(seed).normal(size=(count, dimension)))
    vectors[::7] = vectors[0]  # equal ones, too
    assert {name: found.into for name, found in joined(vectors, eps).items()} == directly(vectors, eps)


def test_pairs_that_are_folded_on_the_way_change_nothing(monkeypatch):
    monkeypatch.setattr("tagevol_hf.tags.merge._WAITING", 40)
    vectors = unit(np.random.default_rng(5).normal(size=(900, 3)))
    assert {name: found.into for name, found in joined(vectors, 0.002).items()} == directly(vectors, 0.002)


def test_two_names_alone_are_joined():
    found = joined(unit(np.array([[1.0, 0.1], [1.0, 0.2]])), 0.05)
    assert {name: one.into for name, one in found.items()} == {"t00001": "t00000"}
    assert joined(unit(np.ones((1, 2))), 0.05) == {}


def test_a_chain_through_all_blocks_is_one_group():
    turns = np.radians(np.arange(1500) * 0.1)
    chain = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    found = joined(chain[np.random.default_rng(1).permutation(1500)], 1 - float(np.cos(np.radians(0.11))))
    assert {entry.into for entry in found.values()} == {"t00000"}
    assert len(found) == 1499


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.0, 0.05])
def test_memory_is_flat_where_all_names_are_neighbours(eps):
    vectors = unit(np.ones((3000, 16)))
    tracemalloc.start()
    found = joined(vectors, eps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 2999
    assert peak < 100 * 2**20  # 4.5 million pairs
