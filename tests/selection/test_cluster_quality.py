import json
import math

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from sklearn.metrics import silhouette_score

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REJECTION, rejection
from tagevol_hf.selection.cluster import Clusters, add_clusters, fit_clusters
from tagevol_hf.selection.cluster_quality import cluster_quality, silhouette
from tagevol_hf.tags.embed import NgramEmbedder

LABELLED = Features({"id": Value("string"), "labels": List(Value("string")), "rejection": REJECTION})


class Angles:
    """Each label is a direction in the plane, in degrees."""

    identity = "angles"

    def encode(self, texts):
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(-1, 2)


def labelled(*label_lists, marks=()):
    ids = [str(place) for place in range(len(label_lists))]
    marked = [rejection("x", "timeout") if place in marks else None for place in range(len(label_lists))]
    return Dataset.from_dict({"id": ids, "labels": list(label_lists), "rejection": marked}, features=LABELLED)


FOUR = Clusters(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]), (), 42, "angles")


def test_figures_of_a_small_case_by_hand():
    rows = labelled(["0"], ["0"], ["60", "-60"], ["90"], ["180"], [], ["90"], marks=(6,))
    found = cluster_quality(add_clusters(rows, FOUR, Angles()), FOUR, Angles())
    assert found["sizes"] == [3, 1, 1, 0]  # 60 and -60 have their mean at 0
    assert (found["rows"], found["memberships"], found["labels"], found["rest"]) == (6, 6, 5, 1)
    assert (found["empty"], found["single_row"], found["dominant"], found["dominant_above"]) == (1, 2, 0, 0.5)
    assert found["biggest_share"] == 0.5
    assert found["similarity_inside"] == 1.0
    # pairs of the five rows 0, 0, 0, 90, 180: three of 1, three of -1, four of 0
    assert found["similarity_random"] == 0.0
    # labels 0 | 60, 90 | 180 | -60: only 60 and 90 have company, at a distance of 1 - cos 30
    near = 1 - math.cos(math.radians(30))
    expected = ((0.5 - near) / 0.5 + (1 - near) / 1) / 5  # 60 is 0.5 from 0, and 90 is 1 from 0 and 180
    assert found["silhouette"] == pytest.approx(expected, abs=1e-6)
    assert found["silhouette_labels"] == 5


def test_a_row_of_several_clusters_counts_in_each():
    rows = labelled(["0", "90"], ["0"], ["180"])
    found = cluster_quality(add_clusters(rows, FOUR, Angles(), assign="release"), FOUR, Angles())
    assert (found["sizes"], found["memberships"], found["rows"]) == ([2, 1, 1, 0], 4, 3)
    assert (found["dominant"], found["biggest_share"]) == (1, 0.666667)
    assert found["similarity_inside"] == pytest.approx(math.cos(math.radians(45)), abs=1e-6)


def test_clusters_of_rows_of_two_kinds_weigh_by_their_rows():
    rows = labelled(["0"], ["0"], ["0"], ["60"], ["120"])
    found = cluster_quality(add_clusters(rows, FOUR, Angles()), FOUR, Angles())
    assert found["sizes"] == [3, 2, 0, 0]
    assert found["similarity_inside"] == pytest.approx((3 * 1 + 2 * 0.5) / 5)
    # ten pairs: three of 1, three of 0.5 and three of -0.5, one of 0.5
    assert found["similarity_random"] == pytest.approx(3.5 / 10)


def test_what_cannot_be_had_is_none():
    for rows in (labelled(), labelled([], []), labelled(["0"], marks=(0,))):
        found = cluster_quality(add_clusters(rows, FOUR, Angles()), FOUR, Angles())
        assert [found[name] for name in ("silhouette", "similarity_inside", "similarity_random")] == [None] * 3
        assert found["silhouette_labels"] == 0
        assert found["biggest_share"] == (0.0 if found["rows"] else None)
    alone = cluster_quality(add_clusters(labelled(["0"], ["90"]), FOUR, Angles()), FOUR, Angles())
    assert (alone["silhouette"], alone["similarity_inside"], alone["similarity_random"]) == (None, None, 0.0)
    none = fit_clusters(labelled([]), k=3, embedder=Angles())
    assert cluster_quality(add_clusters(labelled([]), none, Angles()), none, Angles())["sizes"] == []


def test_the_silhouette_is_that_of_scikit_learn():
    draw = np.random.default_rng(3)
    for _ in range(10):
        vectors = draw.normal(size=(40, 5))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        numbers = draw.integers(0, 12, 40)
        expected = silhouette_score(vectors, numbers, metric="cosine")
        assert silhouette(vectors, numbers) == pytest.approx(expected, abs=1e-9)
    assert silhouette(np.eye(3), np.array([0, 0, 0])) is None
    assert silhouette(np.eye(3), np.array([0, 1, 2])) is None
    same = np.tile([[1.0, 0.0]], (4, 1))
    assert silhouette(same, np.array([0, 0, 1, 1])) == 0.0


def test_many_labels_are_sampled_and_neither_order_nor_json_changes_the_figures():
    labels = [f"{first} {second}" for first in ("poem", "sql", "sum") for second in range(700)]
    rows = labelled(*([label] for label in labels))
    embedder = NgramEmbedder(16)
    clusters = fit_clusters(rows, k=3, embedder=embedder)
    found = cluster_quality(add_clusters(rows, clusters, embedder), clusters, embedder)
    assert (found["silhouette_labels"], found["labels"], sum(found["sizes"])) == (2000, 2100, 2100)
    assert found["similarity_inside"] > found["similarity_random"]
    shuffled = cluster_quality(add_clusters(rows.shuffle(seed=1), clusters, embedder), clusters, embedder)
    assert shuffled == found == json.loads(json.dumps(found))


def test_wrong_input_is_named():
    rows = labelled(["0"])
    with pytest.raises(DataError, match=r"needs the column clusters; .*; apply add_clusters first"):
        cluster_quality(rows, FOUR, Angles())
    with pytest.raises(DataError, match="fitted with the embedder angles, got builtin"):
        cluster_quality(add_clusters(rows, FOUR, Angles()), FOUR, NgramEmbedder())
    few = Clusters(np.array([[1.0, 0.0]]), (), 42, "angles")
    with pytest.raises(DataError, match=r"expected clusters from 0 to 1 in each row, got \[2\]"):
        cluster_quality(add_clusters(labelled(["180"]), FOUR, Angles()), few, Angles())
