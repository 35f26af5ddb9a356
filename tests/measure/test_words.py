"""Words of all scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagevol_hf.measure.words import bare_words, count_words, words


@pytest.mark.parametrize(
    ("text", "found", "bare"),
    [
        ("Don't stop: 3 x-rays (2nd)!", "don t stop 3 x rays 2nd", "don t stop x rays nd"),
        (r"Find $\frac{12}{x_1}$.", "find frac 12 x 1", "find frac x"),
        ("我有3个苹果。", "我 有 3 个 苹 果", "我 有 个 苹 果"),
        ("カタカナー・テスト", "カ タ カ ナ ー テ ス ト", "カ タ カ ナ ー テ ス ト"),
        ("한국어 문장", "한국어 문장", "한국어 문장"),
        ("हिन्दी में", "हिन्दी में", "हिन्दी में"),
        ("ＦＵＬＬ ½ x²", "full 1 2 x2", "full x"),
        ("  \t\n", "", ""),
    ],
)
def test_words_without_signs_and_without_digits(text, found, bare):
    assert words(text) == found.split()
    assert bare_words(text) == bare.split()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("Add 2 + 3, please.", 5),
        ("我有3个苹果，你呢？", 8),
        ("x的平方", 4),
        ("한국어 문장", 2),
        ("", 0),
        ("naïve café", 2),
    ],
)
def test_length_in_words(text, length):
    assert count_words(text) == length


@given(st.text())
def test_any_text_has_words(text):
    assert all(word.strip() == word for word in words(text))
    assert len(bare_words(text)) >= 0
    assert count_words(text) >= 0
