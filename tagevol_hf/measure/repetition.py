"""How often instructions repeat each other's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from .grams import HashedTexts, WordHashes
from .words import words

SIZES = (2, 3, 4)

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        f"repetition_{n}_grams": (
            f"Share of the word {n}-grams of all instructions that occurred before: 1 - distinct / all; lower case, "
            "without punctuation, each Han or Kana character a word. It grows with the number of rows: compare sets "
            "of one size. (The definition is ours; Tag-Evol's is not published.)"
        )
        for n in SIZES
    }
)


def repetition(texts: Iterable[str]) -> dict[str, float]:
    """Share of the n-grams that occurred before, in [0, 1], by figure; without those n that no text is long enough for.

    An n-gram lies inside one text. The order of the texts has no say.
    """
    hashed = HashedTexts.of(map(words, texts), WordHashes())
    found = {}
    for n in SIZES:
        grams, _ = hashed.grams(n)
        if len(grams):
            found[f"repetition_{n}_grams"] = 1 - len(np.unique(grams)) / len(grams)
    return found
