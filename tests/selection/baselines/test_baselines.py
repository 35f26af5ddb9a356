"""Every baseline at the edges, and what each says about its choice."""

import tracemalloc

import numpy as np
import pytest
from baseline_pools import Chart, build, shuffled

from tagevol_hf.errors import DataError
from tagevol_hf.rows import rejection
from tagevol_hf.selection.baselines import (
    BASELINES,
    IFD,
    AlpaGasus,
    Deita,
    InsTag,
    KCenter,
    Longest,
    Perplexity,
    Random,
    baseline,
    several_random,
)

NAMES = ["random", "longest", "alpagasus", "deita", "instag", "ifd", "k-center", "perplexity", "full"]


def pool(count=12, **columns):
    """Rows that every baseline can choose from, and none drops."""
    places = range(count)
    given = {
        "instruction": [f"{'abcdefghijkl'[place % 12] * 9} {place}" for place in places],
        "response": ["x" * (place % 5 + 1) for place in places],
        "labels": [[f"tag {place}", f"tag {place % 3}"] for place in places],
        "complexity": [float(place % 6 + 1) for place in places],
        "quality": [float(place % 4 + 1) for place in places],
        "grade": [5.0 if place % 2 else 4.5 for place in places],
        "ifd": [(place + 1) / 100 for place in places],
        "perplexity": [float(place + 1) for place in places],
    }
    return build(count, **{**given, **columns})


def ids(selection):
    return {choice.id for choice in selection.choices}


def in_rank(selection):
    return [choice.id for choice in sorted(selection.choices, key=lambda choice: choice.rank)]


def test_the_names_are_there():
    assert sorted(BASELINES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_exactly_n_each_with_a_reason_whatever_the_order(name):
    rows = pool()
    scored, found = baseline(name, rows, 5)
    assert len(found.choices) == (12 if name == "full" else 5)
    assert sorted([*found.indices, *found.left]) == list(range(12))
    assert sorted(choice.rank for choice in found.choices) == list(range(1, len(found.choices) + 1))
    for choice in found.choices:
        assert choice.why.startswith(f"number {choice.rank} of 12 by {name}, ")
        assert rows[choice.index]["id"] == choice.id
    chosen = found.apply(scored)
    assert chosen["id"][:] == [rows[index]["id"] for index in found.indices]
    assert all(chosen["why"])
    assert in_rank(baseline(name, shuffled(rows, 1), 5)[1]) == in_rank(found)


@pytest.mark.parametrize("name", NAMES)
def test_none_all_and_more_than_there_are(name):
    rows = pool(3)
    none = baseline(name, rows, 0)[1]
    assert len(none.choices) == (3 if name == "full" else 0)
    everything = baseline(name, rows, 3)[1]
    assert (len(everything.choices), everything.warning) == (3, "")
    more = baseline(name, rows, 4)[1]
    assert (len(more.choices), more.asked) == (3, 4)
    assert more.warning == "4 rows asked for, there are 3"
    empty = baseline(name, rows.select([]), 2)[1]
    assert (empty.choices, empty.left) == ((), ())
    assert empty.warning == "2 rows asked for, there are 0"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_with_the_data_is_said(name):
    with pytest.raises(DataError, match=f"^{name}.n: expected 0 or more rows, got -1$"):
        baseline(name, pool(2), -1)
    with pytest.raises(DataError, match=f"^{name} needs different ids; 'a' stands there twice$"):
        baseline(name, pool(3, id=["a", "b", "a"]), 1)
    with pytest.raises(DataError, match=f"^{name} needs the columns? id"):
        BASELINES[name]().select(pool(2).remove_columns(["id"]), 1)


@pytest.mark.parametrize("name", NAMES)
def test_rejected_rows_are_left_out_and_counted(name):
    marks = [None, rejection("x", "no_tags"), None]
    found = baseline(name, pool(3, rejection=marks), 3)[1]
    assert ids(found) == {"r0", "r2"}
    assert found.left == (1,)
    assert found.warning == "3 rows asked for, there are 2; rejected rows are left out: 1"


@pytest.mark.parametrize(
    ("rule", "column", "writer"),
    [
        (Longest(), "response", "prepare"),
        (InsTag(), "labels", "add_labels"),
        (Deita(), "quality", "DeitaScorer or rate_for_deita"),
        (AlpaGasus(), "grade", "Grader"),
        (IFD(), "ifd", "add_perplexity"),
        (Perplexity(), "perplexity", "add_perplexity"),
        (KCenter(), "instruction", "prepare"),
    ],
)
def test_a_missing_column_is_named_with_what_writes_it(rule, column, writer):
    with pytest.raises(DataError, match=rf"needs the column {column}; the data set has: .*; apply {writer} first$"):
        rule.select(pool(2).remove_columns([column]), 1)


def test_random_is_seeded_by_id():
    rows = pool()
    draws = several_random(rows, 4)
    assert list(draws) == [42, 43, 44]
    assert len({frozenset(ids(draw)) for draw in draws.values()}) == 3
    assert ids(Random(7).select(rows, 4)) == ids(Random(7).select(shuffled(rows, 3), 4))
    more = ids(Random(7).select(rows, 5))
    assert ids(Random(7).select(rows, 4)) < more


def test_full_says_that_it_takes_more_than_was_asked():
    assert baseline("full", pool(3), 1)[1].warning == "full takes all 3 rows, 1 were asked for"


def test_longest_counts_characters_and_takes_the_lower_id_of_equals():
    rows = build(ids=["d", "c", "b", "a"], response=["four", "4444", None, "four four"])
    found = Longest().select(rows, 2)
    assert in_rank(found) == ["a", "c"]
    assert [choice.why for choice in found.choices] == [
        "number 2 of 4 by longest, response of 4 characters",
        "number 1 of 4 by longest, response of 9 characters",
    ]


def test_instag_never_takes_a_row_without_labels_and_says_so():
    rows = build(labels=[["x", "y"], [], None, ["x"]], count=4)
    found = InsTag().select(rows, 3)
    assert in_rank(found) == ["r0", "r3"]
    assert found.warning == "rows without labels bring no tag and are not taken: 2"
    assert found.choices[1].why == "number 2 of 4 by instag, complexity 1.00, new tags in pass 2: 1"


def test_of_equal_rows_deita_keeps_exactly_one():
    chart = Chart({"same": (1.0, 0.0), "other": (0.0, 1.0)})
    texts = ["same", "same", "other", "same"]
    rows = build(4, instruction=texts, complexity=[2.0] * 4, quality=[1.0, 3.0, 1.0, 3.0])
    found = Deita(chart).select(rows, 4)
    assert in_rank(found) == ["r1", "r2"]
    assert found.warning == "rows more than 0.9 alike to one that was taken are not taken: 2"
    assert found.choices[1].why == "number 2 of 4 by deita, score 2.000, at most 0.000 alike to those before it"


def test_for_deita_a_missing_score_is_missing_and_comes_last():
    chart = Chart({"one": (1.0, 0.0), "two": (0.0, 1.0), "three": (-1.0, 0.0)})
    rows = build(3, instruction=["one", "two", "three"], complexity=[None, 1.0, 6.0], quality=[6.0, 1.0, None])
    found = Deita(chart).select(rows, 2)
    assert in_rank(found) == ["r1", "r0"]
    assert [choice.score for choice in found.choices] == [None, 1.0]
    assert found.choices[0].why.startswith("number 2 of 3 by deita, no score")
    assert found.warning == "rows without a score were taken last: 1"


def test_deita_embeds_only_what_it_looks_at(monkeypatch):
    monkeypatch.setattr("tagevol_hf.selection.baselines.deita.CHUNK", 10)
    names = [f"text {place}" for place in range(100)]
    chart = Chart({name: (1.0, 0.0) if place % 2 else (0.0, 1.0) for place, name in enumerate(names)})
    rows = build(100, instruction=names, complexity=[1.0] * 100, quality=[1.0] * 100)
    assert len(Deita(chart, of="instruction").select(rows, 2).choices) == 2
    assert chart.asked == 10


def test_alpagasus_takes_all_of_the_highest_grade_then_a_sample_of_the_next():
    grades = [5.0, 4.5, 4.5, 4.5, 4.5, None, 4.0, 5.0]
    rows = build(8, grade=grades)
    found = AlpaGasus(seed=1).select(rows, 4)
    assert {"r0", "r7"} < ids(found) < {f"r{place}" for place in (0, 1, 2, 3, 4, 7)}
    assert found.warning == ""
    assert len({frozenset(ids(AlpaGasus(seed=seed).select(rows, 4))) for seed in range(20)}) > 3
    short = AlpaGasus().select(rows, 8)
    assert len(short.choices) == 6
    assert short.warning == "rows with a grade below 4.5 are not taken: 1; rows without a grade are not taken: 1"


def test_ifd_drops_what_the_instruction_does_not_help():
    rows = build(5, ifd=[0.5, 1.0, None, 0.9, float("nan")])
    found = IFD().select(rows, 3)
    assert in_rank(found) == ["r3", "r0"]
    assert found.warning == "rows with an IFD of 1 or more are not taken: 1; rows without an IFD are not taken: 2"
    assert found.choices[0].why == "number 2 of 5 by ifd, IFD 0.500"


@pytest.mark.parametrize(
    ("level", "order"),
    [
        ("low", ["r1", "r2", "r0", "r4", "r3"]),
        ("high", ["r4", "r0", "r2", "r1", "r3"]),
        ("middle", ["r2", "r0", "r1", "r4", "r3"]),
    ],
)
def test_perplexity_levels(level, order):
    rows = build(5, perplexity=[3.0, 1.0, 2.0, None, 4.0])
    found = Perplexity(level).select(rows, 5)
    assert in_rank(found) == order
    assert found.warning == "rows without a perplexity were taken last: 1"


def test_settings_out_of_range():
    with pytest.raises(DataError, match=r"^perplexity.level: expected low, middle, high, got 'top'$"):
        Perplexity("top")
    with pytest.raises(DataError, match=r"^deita.threshold: expected a cosine from -1 to 1, got 1.5$"):
        Deita(threshold=1.5)
    with pytest.raises(DataError, match=r"^of: expected instruction or row, got 'all'$"):
        KCenter(of="all").select(build(1), 1)
    with pytest.raises(DataError, match=r"^k-center needs the column response; the data set has"):
        KCenter(of="row").select(build(1).remove_columns(["response"]), 1)


@pytest.mark.parametrize("rule", [KCenter, Deita])
def test_no_matrix_of_all_pairs_is_built(rule):
    count = 4000
    vectors = np.random.default_rng(0).normal(size=(count, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = build(count, complexity=[1.0] * count, quality=[1.0] * count)
    chart = Chart({f"ask r{place}": tuple(vector) for place, vector in enumerate(vectors)})
    tracemalloc.start()
    try:
        assert len(rule(chart, of="instruction").select(rows, 50).choices) == 50
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < count * count * 4 / 4  # a quarter of such a matrix; most is the rows' own text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("instag", "instag needs the column labels, or engine=… to ask for it; got neither"),
        ("alpagasus", "alpagasus needs the column grade, or engine=… to ask for it; got neither"),
        ("deita", "deita needs the column complexity, or model=… (a scorer), or engine=… to ask; got none"),
        ("ifd", "ifd needs the column ifd, or model=… (a causal language model); got neither"),
        ("perplexity", "perplexity needs the column perplexity, or model=… (a causal language model); got neither"),
        ("k-centre", "baseline: 'k-centre' is not a baseline; did you mean \"k-center\"?"),
    ],
)
def test_what_is_missing_is_said(name, told):
    with pytest.raises(DataError) as fault:
        baseline(name, build(2), 1)
    assert str(fault.value) == told
