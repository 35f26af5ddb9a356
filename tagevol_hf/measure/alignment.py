"""How much of a question stands in a text, word by word and in its order."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

_ANCHOR = 3  # words


def stretch(question: Sequence[str], text: Sequence[str]) -> Sequence[str]:
    """Where the text may hold the question: around most of their common three-word sequences.

    It is little longer than the question: in a long text any words can be found in any order.
    """
    slack = max(1, len(question) // 4)
    begin = max(0, _offset(question, text, slack) - slack)
    return text[begin : begin + len(question) + 3 * slack]


def common_words(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, by the bit-parallel rule of Hyyrö (2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        taken = row & places.get(word, 0)
        row = (row + taken | row - taken) & every
    return len(first) - row.bit_count()


def longest_run(question: Sequence[str], text: Sequence[str]) -> list[str]:
    """The longest sequence of words that both have."""
    match = SequenceMatcher(None, text, question, autojunk=False).find_longest_match()
    return list(text[match.a : match.a + match.size])


def _offset(question: Sequence[str], text: Sequence[str], slack: int) -> int:
    """Where in the text the question begins, by most of their common anchors; 0 without any."""
    anchors: dict[tuple[str, ...], int] = {}
    for place in range(len(question) - _ANCHOR + 1):
        anchors.setdefault(tuple(question[place : place + _ANCHOR]), place)
    grams = (tuple(text[place : place + _ANCHOR]) for place in range(len(text) - _ANCHOR + 1))
    offsets = sorted(place - anchors[gram] for place, gram in enumerate(grams) if gram in anchors)
    best, most, last = 0, 0, 0
    for first, offset in enumerate(offsets):
        last = max(last, first)
        while last < len(offsets) and offsets[last] <= offset + slack:
            last += 1
        if last - first > most:
            best, most = offset, last - first
    return best
