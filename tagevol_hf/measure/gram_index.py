"""Which questions share how many of their word n-grams with a text; many texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .grams import HashedTexts, Numbers, Places

COMMON = 100  # an n-gram of more questions than this is a phrase: it points to none of them
_SIEVE_BITS = 24

Pair = tuple[int, int, float]  # number of a text, of a question, and the share of its n-grams


@dataclass(frozen=True)
class Shared:
    """Pairs of a text and a question that have n-grams in common; three arrays of one length.

    Attributes:
        texts: Number of the text.
        questions: Number of the question.
        counts: Distinct n-grams that both have.
    """

    texts: Places
    questions: Places
    counts: Places


@dataclass(frozen=True)
class GramIndex:
    """The n-grams of questions, ready to be looked up.

    Attributes:
        n: Length of an n-gram in words.
        grams: Distinct hashes, sorted.
        begins: Where the questions of each n-gram begin in `owners`; one more at the end.
        owners: Numbers of questions.
        sizes: n-grams of each question that count.
        sieve: For the first bits of a hash, whether any n-gram has them: most n-grams of a text end here.
    """

    n: int
    grams: Numbers
    begins: Places
    owners: Places
    sizes: Places
    sieve: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, questions: HashedTexts, n: int, rarest: float = 1.0) -> GramIndex:
        """Index questions.

        Args:
            questions: Their words.
            n: Length of an n-gram in words.
            rarest: Share of each question's distinct n-grams that count, those of the fewest questions first. An
                n-gram of more than `COMMON` questions never counts.
        """
        numbers, starts = questions.grams(n)
        owners = questions.owners(starts)
        order = np.lexsort((owners, numbers))
        numbers, owners = numbers[order], owners[order]
        new = np.ones(len(numbers), np.bool_)
        new[1:] = (numbers[1:] != numbers[:-1]) | (owners[1:] != owners[:-1])
        numbers, owners = numbers[new], owners[new]
        spread = _spread(numbers)
        counts = (spread <= COMMON) & (_rank(owners, spread) < np.ceil(_of_owner(owners) * rarest))
        numbers, owners = numbers[counts], owners[counts]
        grams, begins = np.unique(numbers, return_index=True)
        sizes = np.bincount(owners, minlength=len(questions.lengths))
        sieve = np.zeros(1 << _SIEVE_BITS, np.bool_)
        sieve[_sieved(grams)] = True
        return cls(n, grams, np.append(begins, len(numbers)), owners, sizes, sieve)

    def shared(self, texts: HashedTexts) -> Shared:
        """The pairs that have n-grams in common, by text, then by question."""
        numbers, starts = texts.grams(self.n)
        near = np.flatnonzero(self.sieve[_sieved(numbers)])
        numbers, starts = numbers[near], starts[near]
        places = np.searchsorted(self.grams, numbers)
        found = (
            np.flatnonzero(self.grams[np.minimum(places, len(self.grams) - 1)] == numbers) if len(places) else places
        )
        keys = np.unique(texts.owners(starts[found]) * max(1, len(self.grams)) + places[found])
        owners, grams = np.divmod(keys, max(1, len(self.grams)))
        many = self.begins[grams + 1] - self.begins[grams]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        questions = self.owners[np.repeat(self.begins[grams], many) + within]
        pairs, counts = np.unique(np.repeat(owners, many) * max(1, len(self.sizes)) + questions, return_counts=True)
        return Shared(*np.divmod(pairs, max(1, len(self.sizes))), counts)


def similar(index: GramIndex, texts: HashedTexts, share: float) -> Sequence[Pair]:
    """The pairs where a text has at least this share of a question's n-grams, and one at the least."""
    found = index.shared(texts)
    shares = found.counts / index.sizes[found.questions]
    good = np.flatnonzero(shares >= share)
    return list(zip(*(part[good].tolist() for part in (found.texts, found.questions, shares)), strict=True))


def _sieved(numbers: Numbers) -> Places:
    return (numbers >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)


def _spread(numbers: Numbers) -> Places:
    """For each of sorted numbers how often it is there."""
    _, place, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(counts[place])


def _of_owner(owners: Places) -> Places:
    """For each entry the number of entries of its owner."""
    return np.asarray(np.bincount(owners)[owners]) if len(owners) else owners


def _rank(owners: Places, spread: Places) -> Places:
    """For each entry its rank among those of its owner, the least spread first; ties in their order."""
    order = np.lexsort((spread, owners))
    ranks = np.empty(len(owners), np.int64)
    firsts = np.searchsorted(owners[order], owners[order])
    ranks[order] = np.arange(len(owners)) - firsts
    return ranks
