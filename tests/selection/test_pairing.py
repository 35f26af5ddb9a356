from collections import Counter

import pytest
from clustered_rows import CLUSTERED, clustered, met
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.rows import rejection
from tagevol_hf.selection.pairing import pairs


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=14), st.integers(1, 4), st.randoms())
def test_each_row_is_compared_often_enough_in_any_row_order(numbers, comparisons, random_source):
    rows = clustered(*numbers)
    planned = pairs(rows, comparisons=comparisons)
    sizes, partners = Counter(numbers), met(planned)
    largest = max(sizes.values())
    for row in rows:
        size = sizes[row["cluster"]]
        least = size - 1 if size > 1 else largest if len(sizes) > 1 else 0
        assert len(partners.get(row["id"], ())) >= min(comparisons, least)
    assert all(row["first_id"] != row["second_id"] for row in planned)
    shown = [(row["first_id"], row["second_id"]) for row in planned]
    assert len(set(shown)) == len(shown)
    assert {(second, first) for first, second in shown} == set(shown)
    shuffled = rows.select(random_source.sample(range(len(rows)), len(rows)))
    assert pairs(shuffled, comparisons=comparisons).to_dict() == planned.to_dict()


def test_a_pair_row_holds_both_items():
    planned = pairs(clustered(7, 7), comparisons=3)
    assert planned["id"][:] == ["r0|r1", "r1|r0"]
    assert planned[0] == {
        "id": "r0|r1",
        "cluster": 7,
        "across": False,
        "round": 1,
        "first_id": "r0",
        "second_id": "r1",
        "first_instruction": "ask 0",
        "first_response": "answer 0",
        "second_instruction": "ask 1\n\nmore",
        "second_response": "answer 1",
        "rejection": None,
    }
    assert planned[1]["first_response"] == "answer 1"


def test_one_order_shows_each_pair_once_with_either_first():
    rows = clustered(*[0] * 40)
    once, both = pairs(rows, orders="one"), pairs(rows)
    assert len(both) == 2 * len(once) == 80
    assert {frozenset(row.split("|")) for row in once["id"]} == {frozenset(row.split("|")) for row in both["id"]}
    assert 8 < sum(row["first_id"] < row["second_id"] for row in once) < 32
    assert pairs(rows, orders="one", seed=7)["id"][:] != once["id"][:]


def test_a_lone_row_meets_rows_of_the_nearest_cluster_and_says_so():
    planned = pairs(clustered(0, 0, 0, 1, 1, 2, near={2: 1}), comparisons=2)
    across = [row for row in planned if row["across"]]
    assert {frozenset((row["first_id"], row["second_id"])) for row in across} == {
        frozenset(("r5", "r3")),
        frozenset(("r5", "r4")),
    }
    assert {row["cluster"] for row in across} == {2}
    # without a known neighbour that has rows it is the largest cluster
    planned = pairs(clustered(0, 0, 0, 1, 1, 2, near={2: 9}), comparisons=1)
    assert met(planned)["r5"] <= {"r0", "r1", "r2"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.sampled_from([2, 4]))
def test_the_number_of_pairs_does_not_depend_on_the_clusters(numbers, comparisons):
    """And each row meets as many others, in a cluster of any size: so `tagevol plan` can say what it costs."""
    rows = len(numbers)
    planned = pairs(clustered(*numbers), comparisons=comparisons, orders="one")
    least = min(comparisons, rows - 1)
    assert len(planned) == -(-rows * least // 2)
    assert all(len(partners) >= least for partners in met(planned).values())


def test_small_clusters_share_a_circle_with_their_nearest():
    planned = pairs(clustered(0, 0, 0, 0, 1, 1, 2, 2, 2, 2, near={1: 2}), comparisons=2, orders="one")
    homes = {f"r{place}": number for place, number in enumerate((0, 0, 0, 0, 1, 1, 2, 2, 2, 2))}
    across = {frozenset((homes[row["first_id"]], homes[row["second_id"]])) for row in planned if row["across"]}
    assert across == {frozenset((1, 2))}
    assert {row["cluster"] for row in planned if row["across"]} == {1}  # for whose sake they meet


def test_two_lone_rows_meet_once_and_one_row_meets_nobody():
    assert pairs(clustered(0, 1, near={0: 1, 1: 0}))["id"][:] == ["r0|r1", "r1|r0"]
    assert len(pairs(clustered(0))) == len(pairs(clustered())) == 0


def test_rejected_rows_take_no_part():
    rows = clustered(0, 0, 0)
    marks = [rejection("x", "timeout"), None, None]
    rows = Dataset.from_dict({**rows.to_dict(), "rejection": marks}, features=CLUSTERED)
    assert pairs(rows)["id"][:] == ["r1|r2", "r2|r1"]


def test_ids_with_a_bar_give_different_pair_ids():
    planned = pairs(clustered(0, 0, 1, 1, ids=["a|b", "c", "a", "b|c"]), comparisons=1)
    assert len(set(planned["id"])) == 4


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"compare\.comparisons: expected at least 1, got 0"):
        pairs(clustered(0, 0), comparisons=0)
    with pytest.raises(DataError, match=r'compare\.orders: expected "both" or "one", got \'two\''):
        pairs(clustered(0, 0), orders="two")
    with pytest.raises(DataError, match="pairs need the columns cluster; the data set has: id, instruction"):
        pairs(clustered(0).remove_columns("cluster"))
    with pytest.raises(DataError, match="'a' stands there twice"):
        pairs(clustered(0, 0, ids=["a", "a"]))
    with pytest.raises(DataError, match="'r0' has none; apply add_clusters first"):
        pairs(clustered(None, 0))


PLANS = ("k-regular", "adjacent", "anchor")


@pytest.mark.parametrize("plan", PLANS)
def test_every_row_of_a_cluster_of_any_size_is_compared_often_enough(plan):
    for comparisons in (1, 2, 5):
        sizes = (2, 3, 4, 5, 8, 11)
        rows = clustered(*[number for number, size in enumerate(sizes) for _ in range(size)])
        partners = met(pairs(rows, plan=plan, comparisons=comparisons))
        assert len(partners) == sum(sizes)
        for row in rows:
            assert len(partners[row["id"]]) >= min(comparisons, sizes[row["cluster"]] - 1)


def test_neighbours_are_taken_in_the_order_of_the_data_set():
    planned = pairs(clustered(0, 1, 0, 0, 1, 0), plan="adjacent", comparisons=1, orders="one")
    assert {frozenset(row.split("|")) for row in planned["id"]} == {
        frozenset(("r0", "r2")),
        frozenset(("r3", "r5")),
        frozenset(("r1", "r4")),
    }


def many(*memberships):
    """Rows r0, r1, … that belong to several clusters, the first of which is their home."""
    rows = clustered(*[numbers[0] for numbers in memberships])
    features = Features({**CLUSTERED, "clusters": List(Value("int64"))})
    return Dataset.from_dict({**rows.to_dict(), "clusters": [list(numbers) for numbers in memberships]}, features)


def test_a_row_takes_part_in_each_of_its_clusters():
    planned = pairs(many([0, 1], [0], [1], [1, 2], [2]), comparisons=1)
    partners = met(planned)
    assert {"r1"} <= partners["r0"]
    assert partners["r1"] == {"r0"}
    assert {"r4"} <= partners["r3"]
    assert not any(planned["across"])


def test_two_rows_that_share_two_clusters_are_one_pair():
    assert pairs(many([0, 1], [0, 1]), comparisons=1)["id"][:] == ["r0|r1", "r1|r0"]


def test_a_row_that_is_alone_in_one_of_its_clusters_meets_others_for_it():
    planned = pairs(many([0, 5], [0], [1], [1]), comparisons=1)
    assert any("r0" in row["id"] and row["cluster"] == 5 for row in planned)
    # a row that is alone with itself in all its clusters meets nobody
    assert len(pairs(many([0, 5]))) == 0


def test_an_unknown_plan_and_one_with_rounds_are_refused():
    with pytest.raises(DataError, match=r"expected one of k-regular, adjacent, anchor, swiss, got 'all'"):
        pairs(clustered(0, 0), plan="all")
    with pytest.raises(DataError, match='the plan "swiss" has rounds, with replies in between; use compare_rows'):
        pairs(clustered(0, 0), plan="swiss")
