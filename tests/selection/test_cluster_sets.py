import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REJECTION, rejection
from tagevol_hf.selection.cluster import keep_one_per_label_set

CLUSTERED = Features(
    {
        "id": Value("string"),
        "labels": List(Value("string")),
        "clusters": List(Value("int64")),
        "response": Value("string"),
        "rejection": REJECTION,
    }
)


def clustered(*rows, marks=()):
    """Rows of (id, clusters, response); no clusters: the rest cluster, number 9."""
    return Dataset.from_dict(
        {
            "id": [row_id for row_id, _, _ in rows],
            "labels": [["a label"] * len(own) for _, own, _ in rows],
            "clusters": [own or [9] for _, own, _ in rows],
            "response": [response for _, _, response in rows],
            "rejection": [rejection("x", "timeout") if row_id in marks else None for row_id, _, _ in rows],
        },
        features=CLUSTERED,
    )


def lost(dataset):
    return {row["id"]: row["rejection"]["detail"] for row in dataset if row["rejection"]}


ROWS = (("a", [1, 2], "1234"), ("b", [2, 1], "12345"), ("c", [1], "1"), ("d", [1, 2], "67890"), ("e", [1, 1], "12"))


def test_the_longest_response_of_each_set_of_clusters_stays():
    done = keep_one_per_label_set(clustered(*ROWS), keep="longest")
    assert lost(done) == {
        "a": "b was kept (longest)",
        "d": "b was kept (longest)",
        "c": "e was kept (longest)",
    }
    assert done["id"][:] == list("abcde")
    assert {(mark["stage"], mark["reason"]) for mark in done["rejection"] if mark} == {("cluster", "same_clusters")}


def test_the_first_of_each_set_of_clusters_stays():
    assert lost(keep_one_per_label_set(clustered(*ROWS), keep="first")) == {
        "b": "a was kept (first)",
        "d": "a was kept (first)",
        "e": "c was kept (first)",
    }
    assert set(lost(keep_one_per_label_set(clustered(*ROWS[::-1]), keep="first"))) == {"a", "b", "c"}


def test_none_gives_the_data_set_back():
    rows = clustered(*ROWS)
    assert keep_one_per_label_set(rows, keep="none") is rows


@pytest.mark.parametrize("keep", ["longest", "first"])
def test_the_rest_cluster_and_rejected_rows_are_left_alone(keep):
    rows = clustered(("a", [], "x"), ("b", [], "xx"), ("c", [1], "long"), ("d", [1], "x"), ("e", [1], None), marks="c")
    done = keep_one_per_label_set(rows, keep=keep)
    assert [mark and mark["reason"] for mark in done["rejection"]] == [None, None, "timeout", None, "same_clusters"]
    assert lost(done)["e"] == f"d was kept ({keep})"


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 2), min_size=1), st.text("x", max_size=2)), max_size=12), st.randoms())
def test_duplicates_keep_exactly_one_in_any_order(values, random_source):
    rows = [(f"r{place:02}", sorted(own), response) for place, (own, response) in enumerate(values)]
    done = keep_one_per_label_set(clustered(*rows))
    kept = [row for row in done if row["rejection"] is None]
    assert sorted(row["clusters"] for row in kept) == [list(own) for own in sorted({tuple(own) for _, own, _ in rows})]
    for row in kept:
        rivals = [(-len(response), row_id) for row_id, own, response in rows if own == row["clusters"]]
        assert (-len(row["response"]), row["id"]) == min(rivals)
    assert lost(keep_one_per_label_set(clustered(*random_source.sample(rows, len(rows))))) == lost(done)


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"cluster\.same_labels: expected longest, first, none, got 'best'"):
        keep_one_per_label_set(clustered(), keep="best")
    with pytest.raises(DataError, match=r"the columns clusters are needed; .*; apply add_clusters first"):
        keep_one_per_label_set(clustered().remove_columns("clusters"), keep="first")
    with pytest.raises(DataError, match=r"to keep the longest .* the columns response are needed"):
        keep_one_per_label_set(clustered().remove_columns("response"))
    with pytest.raises(DataError, match="different ids; 'a' stands there twice"):
        keep_one_per_label_set(clustered(("a", [1], ""), ("a", [2], "")))
