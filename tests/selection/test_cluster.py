import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REJECTION, rejection
from tagevol_hf.selection.cluster import Clusters, add_clusters, fit_clusters
from tagevol_hf.tags.embed import NgramEmbedder

LABELLED = Features({"id": Value("string"), "labels": List(Value("string")), "rejection": REJECTION})


class Points:
    """Each label is its own vector: "x y" in the plane."""

    identity = "points"

    def encode(self, texts):
        return np.array([[float(part) for part in text.split()] for text in texts], dtype=np.float32).reshape(-1, 2)


def labelled(*label_lists, marks=()):
    return Dataset.from_dict(
        {
            "id": [str(place) for place in range(len(label_lists))],
            "labels": list(label_lists),
            "rejection": [rejection("x", "timeout") if place in marks else None for place in range(len(label_lists))],
        },
        features=LABELLED,
    )


TWO = labelled(["0 0"], ["0 0"], ["0 0"], ["0 3"], ["10 0"], ["10 1"], ["0 0", "10 0"])


def test_centres_are_weighted_by_count_and_the_heaviest_is_first():
    clusters = fit_clusters(TWO, k=2, embedder=Points())
    # left: (0, 0) four times and (0, 3) once; right: (10, 0) twice and (10, 1) once
    np.testing.assert_allclose(clusters.centres, [[0, 0.6], [10, 0.333333]], atol=1e-6)
    assert clusters.k == 2
    assert clusters.note == ""
    assert clusters.names[1:] == (("10 0", "10 1"), ("rest",))


class Angles:
    """Each label is a direction in the plane, in degrees."""

    identity = "angles"

    def encode(self, texts):
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(-1, 2)


def test_rows_go_to_the_nearest_centre_of_their_mean_or_to_all_clusters_of_their_labels():
    fitted = labelled(["0"], ["0"], ["10"], ["90"], ["95"], ["0", "90"])
    rows = labelled(["0", "10", "90"], ["95"], ["0", "90", "95"], ["40"])
    clusters = fit_clusters(fitted, k=2, embedder=Angles())
    done = add_clusters(rows, clusters, Angles())
    assert done["cluster"][:] == [0, 1, 1, 0]
    assert done["clusters"][:] == [[0], [1], [1], [0]]
    assert done["nearest_other"][:] == [1, 0, 0, 1]
    released = add_clusters(rows, clusters, Angles(), assign="release")
    assert released["cluster"][:] == [0, 1, 1, 0]
    assert released["clusters"][:] == [[0, 1], [1], [0, 1], [0]]
    assert released["nearest_other"][:] == [None, 0, None, 1]
    assert done["rejection"][:] == [None] * 4
    assert done.features["clusters"] == List(Value("int64"))


def test_a_row_of_many_labels_goes_where_its_mean_points_however_short_it_is():
    centres = np.array([[0.9, 0.0], [0.0, 0.1]])  # the second stands for labels of all kinds
    clusters = Clusters(centres, (("0",), ("90",), ("rest",)), 42, "angles")
    done = add_clusters(labelled(["70", "-70", "0"], ["80", "120", "-80"]), clusters, Angles())
    assert done["cluster"][:] == [0, 1]


def test_the_nearest_other_cluster_has_rows_here():
    clusters = fit_clusters(labelled(["0"], ["40"], ["180"]), k=3, embedder=Angles())
    own = add_clusters(labelled(["0"], ["40"], ["180"]), clusters, Angles())["cluster"][:]
    done = add_clusters(labelled(["0"], ["180"]), clusters, Angles())
    assert done["nearest_other"][:] == [own[2], own[0]]  # not that of 40
    assert add_clusters(labelled(["0"], ["0"]), clusters, Angles())["nearest_other"][:] == [None, None]


def test_of_several_clusters_the_nearest_other_is_none_of_the_rows_own():
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    clusters = Clusters(centres, (), 42, "angles")
    rows = labelled(["0", "100"], ["180"], ["0", "90", "180"], ["0"], [])
    done = add_clusters(rows, clusters, Angles(), assign="release")
    assert done["cluster"][:] == [1, 2, 1, 0, 4]
    assert done["clusters"][:] == [[0, 1], [2], [0, 1, 2], [0], [4]]
    assert done["nearest_other"][:] == [2, 1, None, 1, None]  # no row is in 3


def test_the_home_need_not_be_a_cluster_of_a_label():
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    done = add_clusters(labelled(["0", "90"]), Clusters(centres, (), 42, "angles"), Angles(), assign="release")
    assert (done["cluster"][:], done["clusters"][:], done["nearest_other"][:]) == ([2], [[0, 1]], [None])


def test_the_order_of_a_rows_labels_has_no_say():
    clusters = fit_clusters(TWO, k=2, embedder=Points())
    for assign in ("paper", "release"):
        done = add_clusters(labelled(["0 3", "10 1"], ["10 1", "0 3"]), clusters, Points(), assign=assign)
        assert done["cluster"][0] == done["cluster"][1]
        assert done["clusters"][0] == done["clusters"][1]


def test_k_is_lowered_to_the_distinct_labels_and_says_so():
    clusters = fit_clusters(labelled(["0"], ["50"], ["50"]), k=50, embedder=Angles())
    assert clusters.k == 2
    assert clusters.note == "50 clusters asked for, 2 distinct labels: 2 clusters"
    assert clusters.names == (("50",), ("0",), ("rest",))


def test_labels_that_are_all_the_same_are_one_cluster():
    rows = labelled(*[["poem"]] * 5)
    clusters = fit_clusters(rows, k=3, embedder=NgramEmbedder(64))
    assert (clusters.k, clusters.names) == (1, (("poem",), ("rest",)))
    done = add_clusters(rows, clusters, NgramEmbedder(64), assign="release")
    assert done["clusters"][:] == [[0]] * 5
    assert done["nearest_other"][:] == [None] * 5


def test_labels_in_any_script_find_their_like(tmp_path):
    rows = labelled(["数学 公式"], ["数学 公式 推导"], ["诗歌 写作"], ["诗歌 写作 风格"], ["نص قصير"], ["نص قصير جدا"])
    clusters = fit_clusters(rows, k=3, embedder=NgramEmbedder())
    clusters.save(tmp_path / "clusters.json")
    homes = add_clusters(rows, Clusters.load(tmp_path / "clusters.json"), NgramEmbedder())["cluster"][:]
    assert homes[0::2] == homes[1::2]
    assert len(set(homes)) == 3
    assert set(clusters.names[homes[0]]) == {"数学 公式", "数学 公式 推导"}


@pytest.mark.parametrize("assign", ["paper", "release"])
def test_rejected_rows_pass_and_rows_without_labels_go_to_the_rest_cluster(assign):
    rows = labelled(["0 0"], ["9 9"], [], None, marks=(1,))
    clusters = fit_clusters(rows, k=5, embedder=Points())
    assert clusters.k == 1
    done = add_clusters(rows, clusters, Points(), assign=assign)
    assert done["cluster"][:] == [0, None, 1, 1]
    assert done["clusters"][:] == [[0], None, [1], [1]]
    assert done["nearest_other"][:] == [None] * 4
    assert [mark and mark["reason"] for mark in done["rejection"]] == [None, "timeout", None, None]
    assert clusters.names[clusters.k] == ("rest",)


def test_empty_data_and_rows_without_any_label():
    for rows in (labelled(), labelled(["0 0"], marks=(0,)), labelled([])):
        clusters = fit_clusters(rows, k=3, embedder=NgramEmbedder())
        assert (clusters.k, clusters.names) == (0, (("rest",),))
        done = add_clusters(rows, clusters, NgramEmbedder())
        assert done.features["cluster"] == Value("int64")
        assert all(home == 0 or mark for home, mark in zip(done["cluster"], done["rejection"], strict=True))
    with pytest.raises(DataError, match="fitted on rows without labels"):
        add_clusters(labelled(["a"]), clusters, NgramEmbedder())


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(12)))
def test_row_order_does_not_matter(order):
    words = ["poem", "story", "novel", "essay", "python", "sql", "java", "rust", "algebra", "geometry", "sum", "proof"]
    lists = [[words[place], words[(place * 5) % 12]] for place in range(12)]
    expected = fit_clusters(labelled(*lists), k=4, embedder=NgramEmbedder(64), seed=3)
    rows = labelled(*lists).select(order)
    clusters = fit_clusters(rows, k=4, embedder=NgramEmbedder(64), seed=3)
    assert np.array_equal(clusters.centres, expected.centres)
    assert clusters.names == expected.names
    found = dict(zip(rows["id"], add_clusters(rows, clusters, NgramEmbedder(64))["cluster"], strict=True))
    plain = add_clusters(labelled(*lists), expected, NgramEmbedder(64))
    assert found == dict(zip(plain["id"], plain["cluster"], strict=True))


def test_saved_and_loaded_they_are_the_same(tmp_path):
    for rows in (TWO, labelled()):
        clusters = fit_clusters(rows, k=2, embedder=Points())
        clusters.save(tmp_path / "clusters.json")
        again = Clusters.load(tmp_path / "clusters.json")
        assert np.array_equal(again.centres, clusters.centres)
        assert (again.names, again.seed, again.embedder, again.note) == (clusters.names, 42, "points", clusters.note)
    old = (tmp_path / "clusters.json").read_text().replace('"format": 2', '"format": 1')
    (tmp_path / "clusters.json").write_text(old)
    with pytest.raises(DataError, match="clusters of format 1, expected 2; fit them again"):
        Clusters.load(tmp_path / "clusters.json")
    (tmp_path / "clusters.json").write_text("{}")
    with pytest.raises(DataError, match=r"clusters\.json: not a file of clusters"):
        Clusters.load(tmp_path / "clusters.json")


def test_wrong_input_is_named():
    clusters = fit_clusters(TWO, k=2, embedder=Points())
    with pytest.raises(DataError, match="fitted with the embedder points, got builtin-ngrams-2-4-512; use the same"):
        add_clusters(TWO, clusters, NgramEmbedder())
    with pytest.raises(DataError, match=r"cluster\.assign: expected paper or release, got 'all'"):
        add_clusters(TWO, clusters, Points(), assign="all")
    with pytest.raises(DataError, match=r"cluster\.k: expected at least 1, got 0"):
        fit_clusters(TWO, k=0, embedder=Points())
    with pytest.raises(DataError, match="need the column labels; the data set has: id; apply add_labels first"):
        fit_clusters(Dataset.from_dict({"id": ["a"]}), k=1, embedder=Points())
