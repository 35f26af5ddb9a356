"""Semantic aggregation: names whose vectors lie close together become one name (InsTag, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .embed import Embedder, Vectors

_BLOCK = 256  # names a block; a block's products with all others take 4 bytes each
_WAITING = 100_000  # pairs that wait for being folded into groups
_PART = 10_000  # pairs that are computed again at a time
_DOUBT = 1e-5  # products of 32 bits that are nearer to the border than this are computed again in 64 bits

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """A name that was merged into another.

    Attributes:
        into: The name that stays.
        distance: Cosine distance of the two, in 0..2; may be above eps where others stand between them.
    """

    into: str
    distance: float


def join_near(weights: Mapping[str, int], embedder: Embedder, eps: float) -> dict[str, Joined]:
    """The names that are merged into a more frequent one.

    Density clustering (DBSCAN with cosine distance, every point a core point, which is the same as the connected
    parts of the graph of neighbours): names are in one group where a chain of neighbours at most `eps` apart leads
    from one to the other. The most frequent name of a group stays (ties: the first in the alphabet). Memory follows
    the number of names and of neighbours, never their square.

    Args:
        weights: How often each name occurs.
        embedder: Gives the vectors.
        eps: Greatest cosine distance of neighbours, in 0..2; at 0 nothing is merged but equal vectors.
    """
    names = sorted(weights)
    if len(names) < 2:
        return {}
    vectors = embedder.encode(names)
    members: dict[int, list[int]] = {}
    for place, group in enumerate(_groups(vectors, max(eps, 1e-6)).tolist()):
        members.setdefault(group, []).append(place)
    joined: dict[str, Joined] = {}
    for places in members.values():
        head = min(places, key=lambda place: (-weights[names[place]], names[place]))
        for place in places:
            if place != head:
                exact = vectors[[place, head]].astype(np.float64)
                distance = max(0.0, 1.0 - float(np.dot(exact[0], exact[1])))
                joined[names[place]] = Joined(names[head], round(distance, 4))
    return joined


def _groups(vectors: Vectors, eps: float) -> Places:
    """Number of each name's group. Pairs are folded into groups as soon as there are many, so that few are kept."""
    groups = np.arange(len(vectors))
    waiting: list[tuple[Places, Places]] = []
    for pairs in _neighbours(vectors, eps):
        waiting.append(pairs)
        if sum(len(ones) for ones, _ in waiting) > _WAITING:
            groups = _folded(groups, waiting)
            waiting = []
    return _folded(groups, waiting)


def _folded(groups: Places, pairs: Sequence[tuple[Places, Places]]) -> Places:
    """The groups where the names of each pair are in one; a group is a star about a node after those of the names."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(groups)
    ones = np.concatenate([np.arange(size), *(one for one, _ in pairs)])
    others = np.concatenate([size + groups, *(other for _, other in pairs)])
    graph = coo_array((np.ones(len(ones), np.int8), (ones, others)), shape=(2 * size, 2 * size))
    found = connected_components(graph, directed=False)[1][:size]
    return np.asarray(np.unique(found, return_inverse=True)[1], dtype=np.int64)


def _neighbours(vectors: Vectors, eps: float) -> Iterator[tuple[Places, Places]]:
    """Places of names at most eps apart, each pair once, block by block.

    The sums of a product depend on the number of threads in their last bits, so what lies at the border is computed
    again, in a way that does not.
    """
    least = 1.0 - eps
    for start in range(0, len(vectors), _BLOCK):
        products = vectors[start : start + _BLOCK] @ vectors[start:].T
        ones, others = np.nonzero(products >= least - _DOUBT)
        near = products[ones, others] >= least + _DOUBT
        doubtful = np.flatnonzero(~near)
        for part in np.array_split(doubtful, len(doubtful) // _PART + 1):
            exact = np.einsum("pd,pd->p", *(vectors[start + side[part]].astype(np.float64) for side in (ones, others)))
            near[part] = exact >= least
        yield ones[near] + start, others[near] + start
