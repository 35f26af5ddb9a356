import random

import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.rows import REJECTION, rejection
from tagevol_hf.selection.choose import select
from tagevol_hf.selection.quota import quota

SCORED = Features({"id": Value("string"), "cluster": Value("int64"), "score": Value("float64"), "rejection": REJECTION})
ALLOCATIONS = ("equal", "proportional", "sqrt", "global")


def scored(*rows):
    """Rows of (id, cluster, score)."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("id", "cluster", "score"))}
    return Dataset.from_dict({**columns, "rejection": [None] * len(rows)}, features=SCORED)


def several(*rows):
    """Rows of (id, home, clusters, score)."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("id", "cluster", "clusters", "score"))}
    features = Features(
        {"id": Value("string"), "cluster": Value("int64"), "clusters": List(Value("int64")), "score": Value("float64")}
    )
    return Dataset.from_dict(columns, features=features)


def test_of_rows_that_say_the_same_only_the_best_can_be_chosen():
    rows = several(("a", 0, [0], 9.0), ("b", 0, [0], 10.0), ("c", 1, [1], 10.0), ("d", 1, [1], 1.0), ("e", 1, [1], 2.0))
    said = rows.add_column("instruction", ["x", "x", "x", "x", "y"])
    said = said.add_column("response", ["same", "same", "same", "other", "same"])
    selection = select(said, n=4)
    assert [choice.id for choice in selection.choices] == ["b", "d", "e"]  # of equal scores the smaller id stays
    assert selection.left == (0, 2)
    assert selection.warning == "4 rows asked for, there are 3: all are taken; 2 copies of other rows are left out"
    assert select(said, n=1, allocate="global").warning == "2 copies of other rows are left out"
    assert len(select(said.remove_columns("response"), n=9).choices) == 5  # what is said is not known
    told = [[{"role": "user", "content": text}] for text in "abcde"]
    assert len(select(said.add_column("history", told), n=9).choices) == 5  # they answer something else


# --- rows of one cluster ----------------------------------------------------------------------------------------


def test_the_best_of_each_cluster_with_its_reason():
    rows = scored(("a", 0, 10.0), ("b", 1, 70.0), ("c", 0, 90.5), ("d", 0, 50.0), ("e", 1, 20.0))
    selection = select(rows, n=3)
    assert selection.indices == [1, 2, 3]
    assert selection.left == (0, 4)
    assert selection.quotas == {0: 2, 1: 1}
    chosen = selection.apply(rows)
    assert chosen["id"][:] == ["b", "c", "d"]
    assert [choice.score for choice in selection.choices] == [70.0, 90.5, 50.0]
    assert chosen["cluster_rank"][:] == [1, 1, 2]
    assert chosen["why"][1] == "number 1 of 3 in cluster 0, score 90.50"
    assert selection.summary() == {"asked": 3, "chosen": 3, "left": 2, "clusters": 2, "warning": ""}
    assert select(rows, n=1).summary() == {"asked": 1, "chosen": 1, "left": 4, "clusters": 1, "warning": ""}
    assert select(rows, n=5).warning == ""
    best = select(rows, n=2, allocate="global")
    assert [(choice.id, choice.score) for choice in best.choices] == [("b", 70.0), ("c", 90.5)]


def test_allocations_differ():
    rows = scored(
        *(
            (f"{number}{place}", number, 10.0 * number + place)
            for number, size in enumerate((1, 4, 9))
            for place in range(size)
        )
    )
    quotas = {allocate: select(rows, n=7, allocate=allocate).quotas for allocate in ALLOCATIONS}
    assert quotas == {
        "equal": {0: 1, 1: 3, 2: 3},
        "proportional": {0: 0, 1: 2, 2: 5},  # 0.5, 2, 4.5: of equal remainders the larger cluster's wins
        "sqrt": {0: 1, 1: 2, 2: 4},  # 1.17 of 1 row, then 2.4 and 3.6
        "global": {0: 0, 1: 0, 2: 7},
    }


def test_the_best_of_all_rows_still_name_their_cluster():
    rows = scored(("a", 0, 10.0), ("b", 1, 70.0), ("c", 0, 90.5), ("d", 0, 80.0), ("e", 7, None))
    selection = select(rows, n=2, allocate="global")
    assert [(choice.id, choice.cluster, choice.rank, choice.why) for choice in selection.choices] == [
        ("c", 0, 1, "number 1 of all 5, score 90.50; number 1 of 3 in cluster 0"),
        ("d", 0, 2, "number 2 of all 5, score 80.00; number 2 of 3 in cluster 0"),
    ]
    assert selection.quotas == {0: 2, 1: 0, 7: 0}
    without = select(rows.remove_columns("cluster"), n=1, allocate="global")
    assert (without.choices[0].cluster, without.choices[0].rank, without.quotas) == (None, 1, {})
    assert without.choices[0].why == "number 1 of all 5, score 90.50"


def test_more_than_there_is_takes_all_and_says_so():
    for allocate in ALLOCATIONS:
        selection = select(scored(("a", 0, 1.0), ("b", 1, 2.0)), n=5, allocate=allocate)
        assert selection.indices == [0, 1]
        assert selection.warning == "5 rows asked for, there are 2: all are taken"
        assert select(scored(), n=2, allocate=allocate).warning == "2 rows asked for, there are 0: all are taken"
        assert len(select(scored(), n=2, allocate=allocate).apply(scored())) == 0
        assert select(scored(("a", 0, 1.0)), n=0, allocate=allocate).left == (0,)


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), float("-inf")])
def test_a_row_without_a_finite_score_comes_last(missing):
    selection = select(scored(("a", 0, missing), ("b", 0, -1.0)), n=1)
    assert selection.indices == [1]
    both = select(scored(("a", 0, missing), ("b", 0, -1.0)), n=2)
    assert both.choices[0].why == "number 2 of 2 in cluster 0, no score"
    assert both.choices[0].score is None


def test_another_column_can_decide():
    rows = scored(("a", 0, 9.0), ("b", 0, 1.0)).add_column("single_score", [3, 4])
    assert select(rows, n=1, by="single_score").choices[0].why == "number 1 of 2 in cluster 0, single_score 4.00"
    empty = scored(("a", 0, 9.0)).add_column("marks", [None])
    assert select(empty, n=1, by="marks").choices[0].why == "number 1 of 1 in cluster 0, no marks"


# --- rows of several clusters -----------------------------------------------------------------------------------


def test_a_row_of_several_clusters_is_taken_once_for_the_smallest():
    rows = several(
        ("a", 0, [0, 1], 9.0), ("b", 0, [0, 1], 8.0), ("c", 1, [1], 7.0), ("d", 1, [1], 6.0), ("e", 1, [1], 5.0)
    )
    selection = select(rows, n=4)
    assert {choice.id: choice.cluster for choice in selection.choices} == {"a": 0, "b": 0, "c": 1, "d": 1}
    assert selection.choices[2].why == "number 3 of 5 in cluster 1, score 7.00; 2 better taken for other clusters"
    assert selection.quotas == {0: 2, 1: 2}


def test_what_a_cluster_lacks_because_its_rows_are_taken_is_carried_on():
    # each of 0, 1 and 2 is due two rows; cluster 1 has nothing of its own
    rows = several(
        ("a", 0, [0, 1], 9.0),
        ("b", 0, [0, 1], 8.0),
        *((f"c{place}", 2, [2], 1.0 + place) for place in range(6)),
    )
    selection = select(rows, n=6)
    assert selection.quotas == {0: 2, 1: 0, 2: 4}
    assert len(select(rows, n=8).choices) == 8


def test_without_clusters_the_home_counts():
    rows = several(("a", 0, [], 9.0), ("b", 1, None, 8.0), ("c", 5, [1, 1], 7.0))
    assert {choice.id: choice.cluster for choice in select(rows, n=3).choices} == {"a": 0, "b": 1, "c": 1}
    assert select(rows, n=3).choices[2].why == "number 2 of 2 in cluster 1, score 7.00"
    best = select(rows, n=3, allocate="global").choices
    assert [choice.cluster for choice in best] == [0, 1, 5]


def configuration(number):
    """Random rows (id, home, clusters, score), n and allocation."""
    draw = random.Random(number)
    clusters = draw.randint(1, 12)
    weights = [draw.random() ** 3 + 1e-3 for _ in range(clusters)]
    rows = []
    for place in range(draw.choice([0, 1, 5, 20, 60])):
        own = sorted(set(draw.choices(range(clusters), weights, k=draw.choice([1, 1, 2, 5]))))
        score = draw.choice([None, float("nan"), 50.0, 60.0, draw.uniform(1, 100)])
        rows.append((f"r{place:03}", own[0], own, score))
    return rows, draw.randint(0, len(rows) + 10), draw.choice(ALLOCATIONS), draw


@pytest.mark.slow
@pytest.mark.parametrize("tens", range(20))
def test_exactly_n_distinct_rows_in_200_random_configurations(tens):
    for number in range(10 * tens, 10 * tens + 10):
        rows, n, allocate, draw = configuration(number)
        selection = select(several(*rows), n=n, allocate=allocate)
        count = min(n, len(rows))
        assert len({choice.id for choice in selection.choices}) == len(selection.choices) == count
        assert selection.indices == sorted(set(selection.indices))
        assert sorted([*selection.indices, *selection.left]) == list(range(len(rows)))
        assert sum(selection.quotas.values()) == count
        assert all(choice.cluster in rows[choice.index][2] for choice in selection.choices)
        assert bool(selection.warning) == (n > len(rows))
        shuffled = select(several(*draw.sample(rows, len(rows))), n=n, allocate=allocate)
        assert {choice.id: (choice.cluster, choice.why) for choice in shuffled.choices} == {
            choice.id: (choice.cluster, choice.why) for choice in selection.choices
        }
        better_rows_go_first(rows, selection, allocate)


def better_rows_go_first(rows, selection, allocate):
    """No row is left that comes before a row taken for one of its clusters."""
    known = [None if score is None or score != score else score for _, _, _, score in rows]
    orders = [(score is None, -(score or 0), row[0]) for score, row in zip(known, rows, strict=True)]
    for choice in selection.choices:
        rivals = [place for place in selection.left if allocate == "global" or choice.cluster in rows[place][2]]
        assert all(orders[choice.index] < orders[place] for place in rivals)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 2.0, None])), max_size=15),
    st.integers(0, 16),
    st.sampled_from(ALLOCATIONS[:3]),
)
def test_rows_of_one_cluster_each_fill_the_quotas(values, n, allocate):
    rows = [(f"r{place:02}", number, score) for place, (number, score) in enumerate(values)]
    sizes = {number: sum(own == number for own, _ in values) for number, _ in values}
    selection = select(scored(*rows), n=n, allocate=allocate)
    assert selection.quotas == quota(sizes, n, allocate)
    for number, count in selection.quotas.items():
        best = sorted((row for row in rows if row[1] == number), key=lambda row: (row[2] is None, -(row[2] or 0), row))
        assert sorted(choice.id for choice in selection.choices if choice.cluster == number) == sorted(
            row[0] for row in best[:count]
        )


# --- wrong input ------------------------------------------------------------------------------------------------


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"select\.n: expected 0 or more, got -1"):
        select(scored(), n=-1)
    with pytest.raises(DataError, match=r"select\.allocate: expected equal, proportional, sqrt, global, got 'fair'"):
        select(scored(), n=1, allocate="fair")
    with pytest.raises(DataError, match="'a' stands there twice"):
        select(scored(("a", 0, 1.0), ("a", 0, 1.0)), n=1)
    marked = scored(("a", 0, 1.0)).map(lambda _: {"rejection": rejection("x", "timeout")}, features=SCORED)
    for rows in (marked, scored(("a", None, 1.0))):
        with pytest.raises(DataError, match="row 'a' is rejected or has no cluster; take split_rejected"):
            select(rows, n=1)


def test_a_missing_column_is_named_with_the_step_that_writes_it():
    have = "the data set has: id, cluster, rejection; apply"
    with pytest.raises(DataError, match=rf"needs the columns score; {have} add_scores \(step compare\) first"):
        select(scored().remove_columns("score"), n=1)
    with pytest.raises(DataError, match=r"needs the columns single_score; .*; apply SingleScorer \(step single_score"):
        select(scored(), n=1, by="single_score")
    with pytest.raises(DataError, match=r"needs the columns length_controlled_score; .*; apply control_length"):
        select(scored(), n=1, by="length_controlled_score")
    with pytest.raises(DataError, match=r"needs the columns beauty; .*; apply the step that scores the rows first"):
        select(scored(), n=1, by="beauty")
    with pytest.raises(DataError, match=r"needs the columns cluster; .*; apply add_clusters \(step cluster\) first"):
        select(scored().remove_columns("cluster"), n=1)
    with pytest.raises(DataError, match=r"select\.by: expected a column of numbers, got id of type string"):
        select(scored(), n=1, by="id")
    with pytest.raises(DataError, match=r"select\.by: expected a column of numbers, got clusters of type list"):
        select(several(), n=1, by="clusters")
