"""Each rule of a rewrite: what it finds, and what it leaves alone."""

import json
import os
from pathlib import Path

import pytest

from tagevol_hf.errors import ParseError
from tagevol_hf.evolve.checks import check_rewrite, count_words
from tagevol_hf.evolve.language import changed_language

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SEED = "Sort the list of numbers."
CODE = "Explain this function.\n```python\ndef area(width, height):\n    return width * height\n```"


def reason(seed, evolved, given="", most_words=None):
    try:
        check_rewrite(seed, evolved, given, most_words)
    except ParseError as fault:
        return fault.reason
    return None


@pytest.mark.parametrize(
    ("seed", "evolved", "expected"),
    [
        (SEED, "  \n", "empty_reply"),
        (SEED, "sort the LIST of numbers", "unchanged"),
        (SEED, "# Sort the list of numbers!", "unchanged"),
        (SEED, "Sort the list of numbers twice.", None),
        # refusals begin the text and are about the request
        (SEED, "I'm sorry, but I can't assist with that request.", "refusal"),
        (SEED, "I cannot rewrite this instruction.", "refusal"),
        (SEED, "Unfortunately, I am unable to sort anything.", "refusal"),
        (SEED, "As an AI language model I have no list.", "refusal"),
        (SEED, "I cannot sleep when lists are not in order. Sort the list of numbers and say how.", None),
        (
            "Write an e-mail that begins with: I'm sorry, but I can't come.",
            "I'm sorry, but I can't come: write an e-mail that begins so, in French manners.",
            None,
        ),
        # words of the prompt
        (SEED, "#Rewritten Prompt#: sort the list of numbers by value", "leaked_prompt"),
        (SEED, "Sort the list with respect to the given prompt and its numbers.", "leaked_prompt"),
        (SEED, "<instruction>Sort the list of numbers by hand.</instruction>", "leaked_prompt"),
        ("Generate a joke from the given prompt.", "Generate two jokes from the given prompt and rank them.", None),
        ("Style an HTML tag list.", "Style an HTML tag list for print and for screens.", None),
        # answers
        (SEED, "Sure, here is the sorted list: 1, 2, 3.", "answer_not_instruction"),
        (SEED, "Here's the solution: call sorted on it.", "answer_not_instruction"),
        (SEED, "The answer is 1, 2, 3.", "answer_not_instruction"),
        (SEED, "They are in order.\nAnswer: 123", "answer_not_instruction"),
        (SEED, "Step 1: compare neighbours. Step 2: swap them.", "answer_not_instruction"),
        (SEED, "def sort(numbers):\n    return sorted(numbers)", "answer_not_instruction"),
        (SEED, "Sort the list of numbers. Surely here are traps: mind equal ones.", None),
        (
            SEED,
            "Here are seven numbers: 3, 9, 1, 4, 4, 2, 8. Sort the list of numbers and keep equal ones in order.",
            None,
        ),
        (
            "Step 1: sort. Step 2: print. Say what is missing.",
            "Step 1: sort. Step 2: print. Say what three steps lack.",
            None,
        ),
        ("Fill in: the answer is ___.", "The answer is ___ where x is even. Fill in and prove.", None),
        # the seed's material
        (CODE, "Explain this function, and what happens for negative numbers.", "lost_input"),
        (CODE, CODE + "\nSay what happens for negative numbers.", None),
        (
            'Put "the quick brown fox jumps over the lazy dog" into French.',
            "Put a long sentence into French verse.",
            "lost_input",
        ),
        (
            'Put "the quick brown fox jumps over the lazy dog" into French.',
            'Put "the quick brown fox jumps over the very lazy dog" into French verse.',
            None,
        ),
        ("Read https://example.org/data/report.csv and sum it up.", "Sum up a report and its gaps.", "lost_input"),
        (
            "Sum up:\n| city | people |\n| Rome | 2.8 million |",
            "Sum up the figures of a few large cities.",
            "lost_input",
        ),
        (
            "Prove $$\\sum_{k=1}^n k = \\frac{n(n+1)}{2}$$ by induction.",
            "Prove a formula by induction in two ways.",
            "lost_input",
        ),
    ],
)
def test_rules(seed, evolved, expected):
    assert reason(seed, evolved) == expected


@pytest.mark.parametrize(
    ("seed", "evolved", "given", "expected"),
    [
        ("Sort the following numbers.", "Sort numbers in two ways and compare them.", "3 1 2", "lost_input"),
        ("Sort the following numbers.", "Sort these numbers in two ways and compare them.", "3 1 2", None),
        ("Sort the following numbers.", "Sort 3, 1 and 2 in two ways.", "3 1 2", None),
        ("Sort.", "Sort in two ways.", "3 1 2", None),
        ("Sortiere die Zahlen.", "Sortiere alles auf zwei Arten.", "3 1 2", None),
        ("Sort the following numbers.", "Sort numbers in two ways.", "", None),
    ],
)
def test_the_input_must_still_be_pointed_to(seed, evolved, given, expected):
    assert reason(seed, evolved, given) == expected


def test_growth_is_counted_in_words_of_any_script():
    assert count_words("Sort the list, now!") == 4
    assert count_words("请解释为什么天空是蓝色的") == 6
    more = " and then explain each of the steps that you took"
    assert reason(SEED, SEED + more, most_words=9) == "too_much_growth"
    assert reason(SEED, SEED + more, most_words=10) is None
    assert reason("解释一下", "解释一下" + "更多" * 50, most_words=40) == "too_much_growth"


GERMAN = (
    "Schreibe ein Gedicht über den ersten Regen nach einem langen Sommer, und erkläre danach, welche Bilder du wählst."
)
ENGLISH = (
    "Write a poem about the first rain after a long summer, and explain then which images you have chosen and why."
)
FRENCH = (
    "Écris un poème sur la première pluie après un long été, puis explique quelles images tu as choisies et pourquoi."
)
RUSSIAN = "Напиши стихотворение о первом дожде после долгого лета и объясни, какие образы ты выбрал и почему."
UKRAINIAN = (
    "Напиши вірш про перший дощ після довгого літа й поясни, які саме образи ти вибрав і чому ти це зробив, будь ласка."
)
CHINESE = "写一首关于漫长夏天之后第一场雨的诗，并解释你选择了哪些意象以及为什么。"
JAPANESE = "長い夏のあとの最初の雨についての詩を書き、どのようなイメージを選んだのかを説明してください。"
SERBIAN_CYRILLIC = "Напиши песму о првој киши после дугог лета и објасни које си слике изабрао и зашто баш њих."
SERBIAN_LATIN = "Napiši pesmu o prvoj kiši posle dugog leta i objasni koje si slike izabrao i zašto baš njih."


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (GERMAN, ENGLISH, True),
        (FRENCH, ENGLISH, True),
        (GERMAN, GERMAN + " Achte auf den Rhythmus.", False),
        (RUSSIAN, ENGLISH, True),
        (RUSSIAN, UKRAINIAN, True),
        (CHINESE, ENGLISH, True),
        (CHINESE, JAPANESE, True),
        (CHINESE, CHINESE[:20], False),
        (JAPANESE, JAPANESE[5:], False),
        (SERBIAN_CYRILLIC, SERBIAN_LATIN, False),
        (
            ENGLISH,
            'Translate into German: "' + GERMAN + '" and say what was hard about that translation for you.',
            False,
        ),
        (ENGLISH, "Sort it.", False),
        ("Sort it.", "Sortiere es.", False),
        (ENGLISH, "```python\nprint('привет, это очень длинная строка на русском языке')\n```", False),
        ("2 + 2 = ?", "3 + 3 = ?", False),
        ("", "", False),
    ],
)
def test_language(before, after, changed):
    assert (changed_language(before, after) is not None) == changed
    assert changed_language(before, before) is None


def test_both_languages_are_named():
    assert changed_language(GERMAN, ENGLISH) == "de → en"
    assert changed_language(RUSSIAN, CHINESE) == "Cyrillic → Cjk"


ADDED = (
    " Explain each step and justify it.",
    " Take the conservation of energy into account, and name one limit of your approach.",
    " Also discuss how the result would change under a second scenario.",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "instruction", "given"),
    [
        ("gsm8k/test.jsonl", "question", ""),
        ("math/math_seed_2000.jsonl", "problem", ""),
        ("codealpaca/code_alpaca_2k.json", "instruction", "input"),
        ("lima_evol/dolly_3k.json", "instruction", "context"),
    ],
)
def test_no_real_instruction_with_a_demand_added_is_refused(file, instruction, given):
    path = DATA / file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    refused = []
    for place, row in enumerate(rows):
        seed = row[instruction].strip()
        found = seed and reason(seed, seed + ADDED[place % 3], row.get(given) or "", 40)
        refused += [(found, seed)] if found else []
    assert len(refused) <= len(rows) / 1000, refused[:5]
