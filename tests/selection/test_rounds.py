import re
from collections import Counter
from itertools import pairwise

import pytest
from clustered_rows import answer, clustered, met
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine

from tagevol_hf.errors import DataError
from tagevol_hf.selection import swiss
from tagevol_hf.selection.compare import Comparer
from tagevol_hf.selection.pairing import pair_of
from tagevol_hf.selection.plans import PLANS
from tagevol_hf.selection.rounds import compare_rows


def by_number(request):
    """A judge that gives "answer N" the score 10 + N % 90."""
    first, second = re.findall(r"_response>\nanswer (\d+)\n", request.messages[-1].content)
    return answer(10 + int(first) % 90, 10 + int(second) % 90)


def compare_counted(rows, **options):
    """The compared pair-rows, with how many were planned and how many the engine was asked."""
    engine, planned = ScriptedEngine(by_number), []
    done = compare_rows(rows, Comparer(engine), tell=lambda first, total: planned.append(total), **options)
    assert len(planned) == 1
    return done, planned[0], engine.asked


@pytest.mark.slow
@pytest.mark.parametrize("orders", ["both", "one"])
@pytest.mark.parametrize("plan", PLANS)
def test_calls_planned_are_calls_made(plan, orders):
    sizes = [40, 33, 17, 5, 3, 2, 1]
    rows = clustered(*[number for number, size in enumerate(sizes) for _ in range(size)])
    for comparisons in (1, 3):
        done, planned, asked = compare_counted(rows, plan=plan, comparisons=comparisons, orders=orders)
        assert planned == asked == len(done)
        partners = met(done)
        for row in rows:
            size = sizes[row["cluster"]]
            least = size - 1 if size > 1 else max(sizes)
            assert len(partners[row["id"]]) >= min(comparisons, least)


@pytest.mark.slow
@pytest.mark.parametrize("orders", ["both", "one"])
@pytest.mark.parametrize("plan", PLANS)
def test_calls_planned_are_calls_made_for_clusters_of_every_size(plan, orders):
    for sizes in ([1], [1, 1], [2], [3, 1], [5, 2, 1], [17, 8], list(range(1, 31))):
        rows = clustered(*[number for number, size in enumerate(sizes) for _ in range(size)])
        for comparisons in (1, 2, 3, 5):
            done, planned, asked = compare_counted(rows, plan=plan, comparisons=comparisons, orders=orders)
            assert planned == asked == len(done)


def test_later_rounds_pair_near_scores():
    rows = clustered(*[0] * 60)
    done, _, _ = compare_counted(rows, plan="swiss", comparisons=4, orders="one")
    assert Counter(done["round"]) == {1: 30, 2: 30, 3: 30, 4: 30}
    gaps = {
        number: sum(abs(row["first_score"] - row["second_score"]) for row in done if row["round"] == number) / 30
        for number in (1, 2, 4)
    }
    assert gaps[2] < gaps[1] / 4
    assert gaps[4] < gaps[1] / 4


def test_a_tournament_has_no_say_of_row_order():
    rows = clustered(*[0] * 31, *[1] * 4, 2)
    turned = rows.select(range(len(rows) - 1, -1, -1))
    one, _, _ = compare_counted(rows, plan="swiss")
    two, _, _ = compare_counted(turned, plan="swiss")
    assert one["id"][:] == two["id"][:]
    assert one["first_score"][:] == two["first_score"][:]


def test_rows_whose_comparisons_failed_play_on():
    def faulty(request):
        return "no" if "answer 3\n" in request.messages[-1].content else by_number(request)

    rows = clustered(*[0] * 30)
    done = compare_rows(rows, Comparer(ScriptedEngine(faulty)), plan="swiss", comparisons=3)
    assert Counter(done["round"]) == {1: 30, 2: 30, 3: 30}
    assert sum("r3" in (row["first_id"], row["second_id"]) for row in done) == 6


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 40), st.randoms(use_true_random=False))
def test_no_round_repeats_a_pair_and_all_rows_play(rounds, more, random):
    size = 5 * rounds + 9 + more
    assert swiss.has_rounds(size, rounds)
    ids = [f"r{place}" for place in range(size)]
    pairs = swiss.first_round(ids)
    met_before, twice = set(pairs), Counter()
    for _ in range(rounds):
        counts = Counter(row_id for pair in pairs for row_id in pair)
        assert len(pairs) == -(-size // 2)
        assert set(counts) == set(ids)
        assert max(counts.values()) <= 2
        twice.update(row_id for row_id, count in counts.items() if count == 2)
        # near ranks stay near for a while, as scores do
        ids = sorted(ids, key=lambda row_id: (int(row_id[1:]) + random.randint(0, 4), row_id))
        pairs = swiss.next_round(ids, met_before, twice)
        assert not met_before.intersection(pairs)
        met_before.update(pairs)


def test_who_is_left_over_changes_places():
    ids = [f"r{place:02}" for place in range(20)]
    last_met = {pair_of(one, two) for one, two in pairwise(ids[-3:])} | {pair_of(ids[-1], ids[-3])}
    found = swiss.next_round(ids, last_met, {})
    assert len(found) == 10
    assert {row_id for pair in found for row_id in pair} == set(ids)
    assert not last_met.intersection(found)


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"compare\.plan: expected one of"):
        compare_rows(clustered(0, 0), Comparer(ScriptedEngine(by_number)), plan="round-robin")
    with pytest.raises(DataError, match=r"compare\.comparisons: expected at least 1, got 0"):
        compare_rows(clustered(0, 0), Comparer(ScriptedEngine(by_number)), plan="swiss", comparisons=0)
