"""Word n-grams as 64-bit numbers, many texts at once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that a product keeps all 64 bits


_WORDS = 500_000


class WordHashes(dict[str, int]):
    """Word → 64-bit hash, the same in every process; a word is hashed once, as long as it is not among too many."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _WORDS:
            self.clear()
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self[word] = found = int.from_bytes(digest, "big")
        return found


@dataclass(frozen=True)
class HashedTexts:
    """The words of many texts, one behind the other.

    Attributes:
        flat: Hash of each word.
        lengths: Number of words of each text.
    """

    flat: Numbers
    lengths: Places

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], hashes: WordHashes) -> HashedTexts:
        """From the words of each text."""
        flat, lengths = array("Q"), array("q")
        for text in texts:
            flat.extend(map(hashes.__getitem__, text))
            lengths.append(len(text))
        return cls(np.array(flat, dtype=np.uint64), np.array(lengths, dtype=np.int64))

    def grams(self, n: int) -> tuple[Numbers, Places]:
        """Hashes of all n-grams that lie inside one text, in order, and where in `flat` each begins.

        Two different n-grams among N share a hash with a probability of about N² / 2⁶⁵: 3e-6 for ten million.
        """
        windows = len(self.flat) - n + 1
        if windows <= 0:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        total = np.zeros(windows, np.uint64)
        for offset in range(n):
            total = total * _FACTOR + self.flat[offset : offset + windows]
        ends = np.repeat(np.cumsum(self.lengths), self.lengths)[:windows]
        starts = np.flatnonzero(np.arange(windows) + n <= ends)
        return total[starts], starts

    def owners(self, starts: Places) -> Places:
        """For places in `flat`, the text that each is in."""
        return np.searchsorted(np.cumsum(self.lengths), starts, side="right")
