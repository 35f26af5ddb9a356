"""Numbers, times and texts for people."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from tagevol_hf.report.words import (
    changes,
    count,
    cut,
    decimal,
    duration,
    moment,
    percent,
    plural,
    printable,
    width,
    without_secrets,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234, "1,234"), (0, "0"), (2.6, "3"), (None, "–"), ("7", "–"), (True, "–"), (nan, "–"), (inf, "–")],
)
def test_count(value: Any, expected: str) -> None:
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3.14159, "3.14"),
        (1234.5, "1,234"),
        (2e-05, "2e-05"),
        (-0.25, "−0.25"),
        (62.24, "62.2"),
        (5.0, "5"),
        (None, "–"),
    ],
)
def test_decimal(value: Any, expected: str) -> None:
    assert decimal(value) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (41, 100, "41 %"),
        (1, 250, "0.4 %"),
        (0, 3, "0 %"),
        (-1, 2, "−50 %"),
        (1, 0, "–"),
        (999, 1000, "100 %"),
        (None, 1, "–"),
    ],
)
def test_percent(part: Any, whole: Any, expected: str) -> None:
    assert percent(part, whole).replace("\u00a0", " ") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (3.21, "3.2 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (125, "2 min 5 s"),
        (11520, "3 h 12 min"),
        ("x", "–"),
    ],
)
def test_duration(seconds: Any, expected: str) -> None:
    assert duration(seconds).replace("\u00a0", " ") == expected


def test_moment() -> None:
    assert moment("2025-05-03T14:05:09+00:00") == moment("2025-05-03T14:05:09Z") == "3 May 2025, 14:05 UTC"
    assert moment("yesterday") == "yesterday"


def test_plural_and_width() -> None:
    assert (plural(1, "row"), plural(0, "row"), plural(1234, "row")) == ("1 row", "0 rows", "1,234 rows")
    assert (width(0.41), width(-1), width(7)) == ("41.0%", "0.0%", "100.0%")


def test_a_short_text_is_not_cut() -> None:
    assert cut("abc", 10, 20) == cut("abc")
    assert cut(None).head == ""
    assert cut(12).head == "12"


def test_a_long_text_is_cut_between_words_and_nothing_is_lost() -> None:
    text = "word " * 3000
    shown = cut(text, 300, 4000)
    assert shown.head.endswith("word")
    assert text.startswith(shown.head + shown.rest)
    assert len(shown.head) + len(shown.rest) + shown.left_out == len(text)


@pytest.mark.parametrize("letter", ["👩‍👩‍👧‍👦", "e\u0301", "👍🏽", "क\u094dष"])
def test_a_cut_never_splits_a_visible_character(letter: str) -> None:
    for place in range(300, 320):
        shown = cut(letter * 500, place, 1000)
        assert len(shown.head) % len(letter) == 0 or not shown.rest.startswith(("\u200d", "\u0301", "🏽", "\u094d"))
        assert not shown.head.endswith("\u200d")


def marked(before: str, after: str) -> str:
    return "".join(f"[{text}]" if new else text for text, new in changes(before, after))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("Add two numbers.", "Add two numbers.", "Add two numbers."),
        ("Add two numbers.", "Add two prime numbers in Python.", "Add two [prime numbers in Python]."),
        ("Add two numbers.", "Explain why. Add two numbers.", "[Explain why.] Add two numbers."),
        ("", "all new", "[all new]"),
        ("all gone", "", ""),
        ("質問です。", "短い質問です。", "[短い]質問です。"),
    ],
)
def test_changes(before: str, after: str, expected: str) -> None:
    assert marked(before, after) == expected


def test_a_very_long_text_is_not_compared() -> None:
    assert changes("a " * 5000, "b " * 5000) == [("b " * 5000, False)]


def test_printable() -> None:
    assert printable("a\x00b\x1b[0m\ud800\r\n\tc") == "a�b�[0m�\n\tc"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host/v1", "https://…@host/v1"),
        ("--set api_key=abc123 --limit 5", "--set api_key=… --limit 5"),
        ("OPENAI_API_KEY=abc tagevol run", "OPENAI_API_KEY=… tagevol run"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("hf_abcdefghijklmnop", "hf_…"),
        ("max_tokens: 512\nprompt_tokens=7", "max_tokens: 512\nprompt_tokens=7"),
        ("a token is a piece of text", "a token is a piece of text"),
        (None, ""),
    ],
)
def test_without_secrets(text: str | None, shown: str) -> None:
    assert without_secrets(text) == shown
