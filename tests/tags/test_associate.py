import random
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.tags.associate import Associated, TagRows
from tagevol_hf.tags.normalize import Normalization, TagNormalizer


def associate(rows, support=2, confidence=0.99, names=None):
    table = TagRows()
    for row in rows:
        table.add(row)
    return table.associate(names or {tag: tag for row in rows for tag in row}, support, confidence)


def test_a_tag_that_always_comes_with_a_more_frequent_one_goes_to_it():
    found = associate([["sonnet", "poem"]] * 3 + [["poem"]] * 4 + [["ode", "poem"]])
    assert found == {"sonnet": Associated("poem", "poem", 3, 3)}  # "ode" has too few rows


def test_the_confidence_decides():
    rows = [["a", "b"]] * 99 + [["a"]] + [["b"]] * 20
    assert associate(rows, confidence=0.99) == {"a": Associated("b", "b", 99, 100)}
    assert associate(rows, confidence=0.995) == {}


def test_the_best_rule_is_taken_and_chains_end_at_the_last():
    rows = [["a", "b", "c"]] * 4 + [["b", "c"]] * 4 + [["c"]] * 9 + [["a", "c"]]
    # a always has c, but b only in four of five rows; b always has c
    assert associate(rows, confidence=0.8) == {
        "a": Associated("c", "c", 5, 5),
        "b": Associated("c", "c", 8, 8),
    }
    chain = [["a", "b"]] * 3 + [["b", "c"]] * 2 + [["a", "b", "c"]] + [["c"]] * 9
    found = associate(chain, confidence=0.5)
    assert found["a"] == Associated("c", "b", 4, 4)
    assert found["b"] == Associated("c", "c", 3, 6)


def test_two_that_always_come_together_keep_the_first_in_the_alphabet():
    assert associate([["b", "a"]] * 3) == {"b": Associated("a", "a", 3, 3)}


def test_of_two_rules_as_sure_the_more_frequent_name_is_taken_then_the_first_in_the_alphabet():
    both = [["a", "y", "x"]] * 3
    assert associate([*both, ["y"], ["y"]])["a"] == Associated("y", "y", 3, 3)
    assert associate([*both, ["y"], ["x"]])["a"] == Associated("x", "x", 3, 3)


def test_a_share_that_is_just_met_is_enough():
    rows = [["a", "b"]] * 3 + [["a"]] + [["b"]] * 9
    assert associate(rows, confidence=0.75) == {"a": Associated("b", "b", 3, 4)}


def test_several_spellings_in_a_row_count_once():
    names = {"Poem": "poem", "poems": "poem", "poem": "poem", "verse": "verse"}
    found = associate([["Poem", "poems", "verse"]] * 2 + [["verse"]] * 3, names=names)
    assert found == {"poem": Associated("verse", "verse", 2, 2)}


def test_rare_tags_take_no_part():
    assert associate([["a", "b"]] * 3, names={"a": None, "b": "b"}) == {}
    assert associate([]) == {}
    assert associate([[], []]) == {}


def by_hand(rows, support, confidence):
    """The same by plain counting."""
    tags = sorted({tag for row in rows for tag in row})
    count = {tag: sum(tag in row for row in rows) for tag in tags}
    rules = {}
    for a, b in permutations(tags, 2):
        both = sum(a in row and b in row for row in rows)
        heavier = count[b] > count[a] or (count[b] == count[a] and b < a)
        if heavier and both >= support and both >= confidence * count[a] - 1e-9:
            rank = (-both, -count[b], b)
            rules[a] = min(rules.get(a, (rank, b, both)), (rank, b, both))
    found = {}
    for a, (_, b, both) in rules.items():
        end = a
        while end in rules:
            end = rules[end][1]
        found[a] = Associated(end, b, both, count[a])
    return found


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from("abcdef")), max_size=20),
    st.integers(1, 3),
    st.sampled_from([0.3, 0.6, 0.99, 1.0]),
    st.randoms(),
)
def test_it_counts_as_plain_counting_does(rows, support, confidence, random_source):
    expected = by_hand(rows, support, confidence)
    assert associate(rows, support, confidence) == expected
    assert associate(random_source.sample(rows, len(rows)), support, confidence) == expected


def test_planted_rules_are_found_among_many_rows():
    draw = random.Random(3)
    words = [f"w{number}" for number in range(300)]
    rows = [draw.sample(words, 3) for _ in range(4000)]
    for number in range(20):
        rows += [[f"planted {number}", words[number], draw.choice(words[100:])] for _ in range(30)]
    fitted = TagNormalizer.fit(rows, Normalization(steps=("frequency", "association"), alpha=10))
    moved = {entry.tag: entry for entry in fitted.entries if entry.step == "association"}
    assert {tag: entry.canonical for tag, entry in moved.items()} == {
        f"planted {number}": words[number] for number in range(20)
    }
    assert moved["planted 7"].why == "30 of the 30 rows with 'planted 7' have 'w7', too"


@pytest.mark.parametrize("rows", [1, 40])
def test_chance_does_not_merge_in_small_data(rows):
    """Two rows that share two tags are no rule: the support follows alpha."""
    assert not [
        entry
        for entry in TagNormalizer.fit([["a", "b"]] * 2 + [[f"t{n}"] for n in range(rows)], PAPER).entries
        if entry.step == "association"
    ]


PAPER = Normalization(steps=("frequency", "rule", "association"))
