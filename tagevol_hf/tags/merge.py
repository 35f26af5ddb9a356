"""Semantic aggregation: names whose vectors lie close together become one name (InsTag, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .embed import Embedder

_BLOCK = 128


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

    Density clustering (DBSCAN, cosine distance, every point a core point): names are in one group where a chain of
    neighbours at most `eps` apart leads from one to the other. The most frequent name of a group stays (ties: the
    first in the alphabet).

    Args:
        weights: How often each name occurs.
        embedder: Gives the vectors.
        eps: Greatest cosine distance of neighbours, in 0..2; at 0 nothing is merged but equal vectors.
    """
    names = sorted(weights)
    if len(names) < 2:
        return {}
    from sklearn import config_context
    from sklearn.cluster import DBSCAN
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    vectors = embedder.encode(names)
    # Sums must not depend on the number of threads; distances are computed in blocks of so many MiB.
    with threadpool_limits(limits=1), config_context(working_memory=_BLOCK):
        groups = DBSCAN(eps=max(eps, 1e-6), min_samples=1, metric="cosine").fit_predict(vectors)
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(place)
    joined: dict[str, Joined] = {}
    for places in members.values():
        head = min(places, key=lambda place: (-weights[names[place]], names[place]))
        for place in places:
            if place != head:
                distance = max(0.0, 1.0 - float(np.dot(vectors[place], vectors[head])))
                joined[names[place]] = Joined(names[head], round(distance, 4))
    return joined
