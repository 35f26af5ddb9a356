"""Texts whose word n-grams are nearly the same sets: MinHash points to pairs, the exact Jaccard index decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from ..errors import MissingExtraError
from .grams import HashedTexts, Numbers, Places, WordHashes
from .words import words

_PERMUTATIONS, _SEED = 128, 1
_MISSED = 1e-4  # of the pairs that are just as similar as the threshold asks, this share is not seen
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Shingles:
    """Texts → the sets of their word n-grams.

    A text of fewer words is one n-gram as a whole; of a text without any word, such as "?!", it is its characters.
    Digits count, case and punctuation do not; Han and Kana characters are words of their own.

    Attributes:
        n: Length of an n-gram in words, >= 1.
        hashes: Of words that were met.
    """

    n: int = 3
    hashes: WordHashes = field(default_factory=WordHashes)

    def of(self, texts: Sequence[str]) -> tuple[Numbers, Places]:
        """The sorted distinct hashes of each text, one behind the other, and where each text's begin (one more)."""
        hashed = HashedTexts.of(map(words, texts), self.hashes)
        numbers, starts = hashed.grams(self.n)
        parts = [(hashed.owners(starts), numbers)]
        for length in range(1, self.n):
            numbers, starts = hashed.grams(length)
            owners = hashed.owners(starts)
            whole = hashed.lengths[owners] == length
            parts.append((owners[whole], numbers[whole]))
        signs = [place for place in np.flatnonzero(hashed.lengths == 0) if texts[place].strip()]
        parts.append((np.array(signs, np.int64), np.array([_hash(texts[place].strip()) for place in signs], np.uint64)))
        owners, numbers = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((numbers, owners))
        owners, numbers = owners[order], numbers[order]
        new = np.ones(len(owners), np.bool_)
        new[1:] = (owners[1:] != owners[:-1]) | (numbers[1:] != numbers[:-1])
        return numbers[new], np.searchsorted(owners[new], np.arange(len(texts) + 1))


def bands(threshold: float) -> int:
    """Rows of a band: the most at which hardly a pair of this similarity is missed."""
    good = [rows for rows in range(1, 17) if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED]
    return max(good, default=1)


def signatures(tokens: Numbers, begins: Places, rows: int) -> Numbers:
    """One number a band for each text, shape (texts, bands).

    Raises:
        MissingExtraError: If rensa is not installed.
    """
    try:
        from rensa import RMinHash
    except ImportError:
        raise MissingExtraError("rensa", "dedup") from None
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(tokens, begins.astype(np.uint64), _PERMUTATIONS, _SEED)
    digests = np.array(matrix.to_rows(), np.uint64).reshape(len(begins) - 1, _PERMUTATIONS)
    count = _PERMUTATIONS // rows
    found = np.zeros((len(digests), count), np.uint64)
    for place in range(rows):
        found = (found + digests[:, place : count * rows : rows] + np.uint64(1)) * _FACTOR
    return found


def meeting(signed: Numbers) -> Places:
    """Numbers of the texts that have a band in common with another one, sorted."""
    meets = np.zeros(len(signed), np.bool_)
    for band in range(signed.shape[1]):
        _, place, counts = np.unique(signed[:, band], return_inverse=True, return_counts=True)
        meets |= counts[place] > 1
    return np.flatnonzero(meets)


def duplicates(sets: Sequence[Numbers], signed: Numbers, threshold: float) -> Iterator[tuple[int, int, float]]:
    """(text, kept text, Jaccard index) for each text that is left out; of two similar ones the earlier is kept.

    Args:
        sets: Distinct numbers of each text, sorted.
        signed: Its bands.
        threshold: Least Jaccard index of duplicates, in (0, 1].
    """
    kept: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for text, own in enumerate(sets):
        keys = list(enumerate(signed[text].tolist()))
        best = (0.0, 0)
        for other in {other for key in keys if key in kept for other in kept[key]}:
            best = max(best, (_jaccard(own, sets[other], threshold), -other))
        if best[0] >= threshold:
            yield text, -best[1], best[0]
        else:
            for key in keys:
                kept[key].append(text)


def _jaccard(first: Numbers, second: Numbers, threshold: float) -> float:
    """The Jaccard index of two sets; 0 where their sizes alone keep it below the threshold."""
    small, large = sorted((len(first), len(second)))
    if small < threshold * large or not large:
        return 0.0
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (small + large - both)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
