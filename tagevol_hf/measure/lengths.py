"""How long instructions are, and how much longer than their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from .words import count_words

_WORDS = "words between blanks, each Han or Kana character a word"

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "words_mean": f"Mean length of an instruction ({_WORDS}).",
        "words_median": "Median length of an instruction, in words.",
        "words_p5": "5th percentile of the length, in words.",
        "words_p95": "95th percentile of the length, in words.",
        "growth_mean": "Mean number of words that an instruction has more than its seed's instruction.",
        "growth_median": "Median number of words more than the seed's instruction.",
        "growth_p95": "95th percentile of the words more than the seed's instruction.",
    }
)


def lengths(texts: Sequence[str], seeds: Sequence[str | None] = ()) -> dict[str, float]:
    """Length in words by figure, and the growth over those rows that have a seed.

    Args:
        texts: Instructions, at least one.
        seeds: The seed's instruction for each, or None; empty where there are no seeds.
    """
    sizes = [count_words(text) for text in texts]
    grown = [size - count_words(seed) for size, seed in zip(sizes, seeds, strict=False) if seed]
    found = _spread("words", sizes, (5, 95))
    return {**found, **_spread("growth", grown, (95,))} if grown else found


def _spread(name: str, sizes: Sequence[int], percentiles: Sequence[int]) -> dict[str, float]:
    further = {f"{name}_p{part}": float(np.percentile(sizes, part)) for part in percentiles}
    return {f"{name}_mean": float(np.mean(sizes)), f"{name}_median": float(np.median(sizes)), **further}
