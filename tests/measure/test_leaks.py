"""Rows that hold questions of benchmarks."""

import json
import os
import random
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError
from tagevol_hf.formats import prepare
from tagevol_hf.measure import BenchmarkSearch, Match, Rule, find_leaks, reject_leaks
from tagevol_hf.measure.alignment import common_words
from tagevol_hf.measure.gram_index import COMMON, GramIndex
from tagevol_hf.measure.grams import HashedTexts, WordHashes
from tagevol_hf.measure.words import bare_words
from tagevol_hf.rows import split_rejected

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
ALPACA, GSM8K = DATA / "alpaca52k" / "alpaca_data.json", DATA / "gsm8k"

DUCKS = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. She sells the remainder at the market for $2 per fresh duck egg. How much does she make?"
)
SHIP = (
    "A ship leaves the harbour of Bergen at noon and sails north against the wind until a storm breaks its only mast."
)


def found(text, questions, **rule):
    return BenchmarkSearch.of({"b": questions}, Rule(**rule)).find([[text]])[0]


def rows(*texts, **more):
    return prepare(Dataset.from_list([{"instruction": text, "input": "", "output": "", **more} for text in texts]))


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (DUCKS, "13-gram"),
        (DUCKS.swapcase().replace(".", " ;"), "13-gram"),
        (f"{SHIP} {DUCKS} {SHIP}", "13-gram"),
        (DUCKS.replace("16", "61"), "13-gram"),
        (" ".join("so" if place % 10 == 4 else word for place, word in enumerate(DUCKS.split())), "near"),
        (" ".join(word for place, word in enumerate(DUCKS.split()) if place % 10 != 4), "near"),
    ],
)
def test_a_question_is_found_however_it_is_dressed(text, how):
    [match] = found(text, ["Something quite different from all that is said elsewhere here.", DUCKS])
    assert (match.reference, match.number, match.how) == ("b", 1, how)
    assert match.share >= (0.8 if how == "near" else 0.5)
    assert match.words in " ".join(bare_words(text))
    assert match.words in " ".join(bare_words(DUCKS))


@pytest.mark.parametrize(
    "text",
    [
        SHIP,
        "",
        "?!",
        "How much does she make at the market for her friends every day?",
        "She sells the remainder at the market for a fresh start.",  # six words of it
        " ".join(sorted(DUCKS.split())),
        " ".join(f"{word} and then" for word in DUCKS.split()),
    ],
)
def test_what_is_another_text_is_not_found(text):
    assert found(text, [DUCKS]) == []


def test_one_shared_phrase_is_enough_only_where_the_rule_says_so():
    text = f"{SHIP} She sells the remainder at the market for less."
    assert found(text, [DUCKS]) == []
    [match] = found(text, [DUCKS], share=0)
    assert (match.how, match.words) == ("8-gram", "she sells the remainder at the market for")
    assert 0 < match.share < 0.05


def test_the_question_with_the_larger_share_is_named():
    wording = "Write a function that finds the {} of a list of numbers."
    others = [wording.format(what) for what in ("mean", "range", "length", "sum")]
    assert found(wording.format("length"), others)[0].number == 2


def test_a_short_question_is_found_as_a_whole_with_its_digits():
    search = BenchmarkSearch.of({"b": ["Name it.", "What is 5 + 7?", None, ""]}, Rule())
    parts = [
        ["what is 5 - 7"],
        ["What is 5 + 8?"],
        ["Answer the question.", "What is 5 + 7?"],
        ["Tell: what is 5 + 7?"],
    ]
    same = [Match("b", 1, "same", 1.0, "what is 5 7")]
    assert search.find([*parts, []]) == [same, [], same, [], []]


def test_the_strictest_match_and_then_the_largest_share_is_told_for_each_benchmark():
    words = DUCKS.split()
    benchmarks = {"half": [" ".join(words[:25]), DUCKS], "whole": [SHIP, DUCKS, DUCKS]}
    [matches] = BenchmarkSearch.of(benchmarks, Rule()).find([[" ".join(words[:30])]])
    assert [(match.reference, match.number, match.share) for match in matches] == [
        ("half", 0, 1.0),
        ("whole", 1, pytest.approx(0.6, abs=0.2)),
    ]


def test_text_without_blanks_is_compared_by_characters():
    question = "小明有五个苹果,他又从市场买了十二个苹果,然后把其中的三个送给了妹妹,请问他还剩下多少个苹果?"
    text = "请回答:" + "".join("新" if place % 10 == 4 else char for place, char in enumerate(question))
    assert [match.how for match in found(text, [question])] == ["near"]
    assert found("今天的天气很好,我们一起去公园散步吧,然后再去吃一顿美味的晚餐,你觉得这个主意怎么样?", [question]) == []


def test_a_phrase_of_very_many_questions_points_to_none_of_them():
    phrase = "choose the one right answer from the list that stands below this line"
    questions = [f"{phrase} {'w' * number}x" for number in range(COMMON + 50)] + [f"{phrase} {SHIP}"]
    assert found(f"{phrase} please", questions) == []
    [match] = found(f"I said: {SHIP}", questions)
    assert match.number == COMMON + 50


def by_hand(text, question, n):
    grams = {tuple(question[start : start + n]) for start in range(len(question) - n + 1)}
    return len(grams & {tuple(text[start : start + n]) for start in range(len(text) - n + 1)})


WORDS = st.lists(st.sampled_from("abcde"), max_size=10)


@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=5), st.integers(1, 4))
def test_shared_n_grams_are_those_of_comparing_everything_with_everything(texts, questions, n):
    hashes = WordHashes()
    shared = GramIndex.of(HashedTexts.of(questions, hashes), n).shared(HashedTexts.of(texts, hashes))
    counts = {
        (row, number): count
        for row, text in enumerate(texts)
        for number, question in enumerate(questions)
        if (count := by_hand(text, question, n))
    }
    assert dict(zip(zip(shared.texts, shared.questions, strict=True), shared.counts, strict=True)) == counts


@given(WORDS, WORDS)
def test_common_words_is_the_longest_common_subsequence(first, second):
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for a, one in enumerate(first):
        for b, other in enumerate(second):
            table[a + 1][b + 1] = table[a][b] + 1 if one == other else max(table[a][b + 1], table[a + 1][b])
    assert common_words(first, second) == table[-1][-1]


@settings(max_examples=40)
@given(st.integers(10, 60), st.data())
def test_a_tenth_of_the_words_replaced_never_hides_a_question(length, data):
    question = [f"w{'abcdefghij'[place % 10]}{'klmnop'[place // 10]}" for place in range(length)]
    places = data.draw(st.sets(st.integers(0, length - 1), max_size=length // 10))
    text = " ".join("other" if place in places else word for place, word in enumerate(question))
    assert found(text, [" ".join(question)])


def test_rows_are_rejected_with_the_place_and_nothing_is_lost():
    dataset = rows(SHIP, DUCKS, "", DUCKS + " Think.", "Tell me.")
    leaks = find_leaks(dataset, {"gsm8k": [SHIP[:30], DUCKS], "other": ["x"]})
    assert [(leak.row, leak.id, leak.column) for leak in leaks.found] == [
        (1, dataset[1]["id"], "instruction"),
        (3, dataset[3]["id"], "instruction"),
    ]
    assert leaks.summary() == {
        "rows": 5, "contaminated": 2, "by_reference": {"gsm8k": 2, "other": 0}, "by_how": {"13-gram": 2},
    }  # fmt: skip
    kept, lost = split_rejected(reject_leaks(dataset, leaks))
    assert [row["rejection"]["reason"] for row in lost] == ["contaminated", "empty_instruction", "contaminated"]
    assert lost[0]["rejection"]["detail"].startswith("gsm8k row 1: 13-gram, share 1.00: janet s ducks lay eggs per day")
    assert kept["instruction"][:] == [SHIP, "Tell me."]


def test_responses_and_earlier_turns_are_looked_at():
    turns = [{"role": "user", "content": DUCKS}, {"role": "assistant", "content": "Well."}]
    dataset = prepare(Dataset.from_list([{"messages": [*turns, {"role": "user", "content": "Go on."}]}]))
    assert [leak.column for leak in find_leaks(dataset, {"b": [DUCKS]}).found] == ["instruction"]
    answered = prepare(Dataset.from_list([{"instruction": "Quiz me.", "output": DUCKS}]))
    assert find_leaks(answered, {"b": [DUCKS]}).found == ()
    [leak] = find_leaks(answered, {"b": [DUCKS]}, columns=("instruction", "response")).found
    assert (leak.column, leak.text) == ("response", DUCKS)


def test_the_report_holds_what_was_found(tmp_path):
    find_leaks(rows(DUCKS), {"b": [DUCKS]}).save(tmp_path / "contamination.json")
    body = json.loads((tmp_path / "contamination.json").read_text())
    assert (body["contaminated"], body["questions"], body["rule"]["n"]) == (1, {"b": 1}, [8, 13])
    assert body["leaks"][0]["text"] == DUCKS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Rule(n=()), "decontaminate.n: expected lengths of at least 1 word"),
        (lambda: Rule(share=2), "decontaminate.share: expected a share from 0 to 1, got 2"),
        (lambda: find_leaks(rows("x"), {}), "decontaminate: expected at least one benchmark, got none"),
        (
            lambda: find_leaks(Dataset.from_list([{"id": "1"}]), {"b": [""]}),
            "decontaminate needs the column instruction",
        ),
    ],
)
def test_what_cannot_be_is_told(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_a_very_long_row_takes_no_time():
    text = " ".join(random.Random(1).choices(DUCKS.split(), k=20_000))
    leaks = find_leaks(rows(text + " " + SHIP, max_chars=1).map(lambda row: {"rejection": None}), {"b": [DUCKS, SHIP]})
    assert [leak.match.number for leak in leaks.found] == [1]


def planted(alpaca, test):
    """Alpaca's rows with 50 questions in each of three forms in the place of others; their numbers."""
    draw = random.Random(8)
    words = sorted({word for row in alpaca[:3000] for word in row["instruction"].split()})

    def changed(text):
        own = text.split()
        for place in draw.sample(range(len(own)), max(1, len(own) // 10)):
            own[place] = draw.choice(words)
        return " ".join(own)

    questions = [form(test[number]) for number in draw.sample(range(len(test)), 50)
                 for form in (str, str.swapcase, changed)]  # fmt: skip
    places = dict(zip(draw.sample(range(len(alpaca)), len(questions)), questions, strict=True))
    rows = [{**row, "instruction": places.get(at, row["instruction"]), "input": "" if at in places else row["input"]}
            for at, row in enumerate(alpaca)]  # fmt: skip
    return Dataset.from_list(rows), set(places)


@pytest.mark.slow
@pytest.mark.skipif(not (ALPACA.is_file() and GSM8K.is_dir()), reason=f"needs {ALPACA} and {GSM8K} (TAGEVOL_TEST_DATA)")
def test_planted_questions_among_52000_rows_are_found_and_nothing_else():
    test, train = (
        [json.loads(line)["question"] for line in (GSM8K / f"{split}.jsonl").open(encoding="utf-8")]
        for split in ("test", "train")
    )
    dataset, places = planted(json.loads(ALPACA.read_text(encoding="utf-8")), test)
    one, two = (find_leaks(prepare(dataset), {"gsm8k": test}, num_proc=count) for count in (1, 2))
    assert {leak.row for leak in one.found} == places
    assert one == two
    seeds = find_leaks(rows(*train), {"gsm8k": test})
    assert len(seeds.found) < 10  # questions of the training split with another name in them
