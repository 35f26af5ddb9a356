"""Instructions that share long word sequences with a test set (Tag-Evol's test: 8-grams without signs and digits)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .grams import HashedTexts, Numbers, Places, WordHashes
from .words import bare_words, words

_CHUNK = 5000
_MEANING = (
    "Share of the instructions (with their input) that have 8 words in a row in common with a test set, without case, "
    "punctuation, symbols and digits (Tag-Evol's test script); a text of fewer than 8 words must be the same as a whole"
)


@dataclass(frozen=True, order=True)
class Hit:
    """One overlap of a text with a test set.

    Attributes:
        row: Number of the text, from 0.
        reference: Name of the test set.
        number: Number of its text, from 0; the first that has these words.
        words: The first shared n-gram of the text, or the whole of a short text.
    """

    row: int
    reference: str
    number: int
    words: str


@dataclass(frozen=True)
class Contamination:
    """What was found.

    Attributes:
        texts: Texts that were looked at.
        n: Length of an n-gram, in words.
        hits: Sorted; at most one for a text and a test set.
    """

    texts: int
    n: int
    hits: tuple[Hit, ...]

    @property
    def rows(self) -> list[int]:
        """Numbers of the texts with a hit, sorted."""
        return sorted({hit.row for hit in self.hits})

    @property
    def share(self) -> float:
        """Share of the texts with a hit, in [0, 1]; 0 without texts."""
        return len(self.rows) / self.texts if self.texts else 0.0

    @property
    def by_reference(self) -> dict[str, int]:
        """Texts with a hit in each test set that has one, sorted by name."""
        return dict(sorted(Counter(hit.reference for hit in self.hits).items()))


def contamination(texts: Sequence[str], references: Mapping[str, Sequence[str]], n: int = 8) -> Contamination:
    """Find texts that share n words in a row with a test set, after removing punctuation, symbols, digits and case.

    A text or a reference of fewer than n words is compared as a whole, and with its digits: without them, short
    questions of arithmetic would all be the same. So a short text is a hit where it equals a short reference. A text
    without any word is never one.

    Hashes only point to what is then compared word by word, so no hit is made up.

    Args:
        texts: What is looked at, such as instructions.
        references: Name of a test set → its texts.
        n: Length of an n-gram in words, >= 1.

    Raises:
        DataError: If n is below 1.
    """
    if n < 1:
        raise DataError(f"contamination.n: expected at least 1 word, got {n}")
    hashes = WordHashes()
    known = [_Reference.of(name, texts_of, n, hashes) for name, texts_of in sorted(references.items())]
    hits = (
        hit
        for first in range(0, len(texts), _CHUNK)
        for hit in _hits(texts[first : first + _CHUNK], first, known, n, hashes)
    )
    return Contamination(len(texts), n, tuple(sorted(hits)))


def figures(
    found: Contamination, groups: Mapping[str, Sequence[int]], names: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """The shares of each group of texts, in all test sets together and, where there are several, in each; meanings."""
    hit = {"contaminated_share": set(found.rows)}
    meanings = {"contaminated_share": f"{_MEANING}. Test sets: {', '.join(names)}."}
    for name in names if len(names) > 1 else ():
        figure = f"contaminated_share: {name}"
        hit[figure] = {one.row for one in found.hits if one.reference == name}
        meanings[figure] = f"The same with {name} alone."
    shares = {
        group: {figure: sum(place in rows for place in places) / len(places) for figure, rows in hit.items()}
        for group, places in groups.items()
    }
    return shares, meanings


@dataclass(frozen=True)
class _Reference:
    """A test set, ready to be searched.

    Attributes:
        grams: Distinct hashes of its n-grams, sorted.
        first: For each, the text that has it first; `begin` is the n-gram's place in that text.
        short: Whole text → the number of the first such, for texts of fewer than n words.
    """

    name: str
    texts: Sequence[str]
    grams: Numbers
    first: Places
    begin: Places
    short: Mapping[str, int]

    @classmethod
    def of(cls, name: str, texts: Sequence[str], n: int, hashes: WordHashes) -> _Reference:
        split = [bare_words(text) for text in texts]
        hashed = HashedTexts.of(split, hashes)
        numbers, starts = hashed.grams(n)
        grams, place = np.unique(numbers, return_index=True)
        owner, begin = _owners(hashed, starts[place])
        short: dict[str, int] = {}
        for number, text in enumerate(texts):
            if 0 < len(split[number]) < n:
                short.setdefault(_whole(text), number)
        return cls(name, texts, grams, owner, begin, short)

    def find(self, numbers: Numbers) -> Places:
        """For each hash its place in `grams`, or -1."""
        if not len(self.grams):
            return np.full(len(numbers), -1)
        places = np.minimum(np.searchsorted(self.grams, numbers), len(self.grams) - 1)
        return np.where(self.grams[places] == numbers, places, -1)

    def gram(self, place: int, n: int) -> list[str]:
        """The words of an n-gram."""
        begin = int(self.begin[place])
        return bare_words(self.texts[int(self.first[place])])[begin : begin + n]


def _hits(texts: Sequence[str], first: int, known: Sequence[_Reference], n: int, hashes: WordHashes) -> Iterator[Hit]:
    split = [bare_words(text) for text in texts]
    hashed = HashedTexts.of(split, hashes)
    numbers, starts = hashed.grams(n)
    owner, begin = _owners(hashed, starts)
    for reference in known:
        found = reference.find(numbers)
        for places in _by_text(np.flatnonzero(found >= 0), owner):
            row = int(owner[places[0]])
            for place in places:
                gram = split[row][begin[place] : begin[place] + n]
                if gram == reference.gram(int(found[place]), n):
                    number = int(reference.first[found[place]])
                    yield Hit(first + row, reference.name, number, " ".join(gram))
                    break
        for row, text in enumerate(texts):
            if 0 < len(split[row]) < n and (whole := _whole(text)) in reference.short:
                yield Hit(first + row, reference.name, reference.short[whole], whole)


def _owners(hashed: HashedTexts, starts: Places) -> tuple[Places, Places]:
    """For places among all words, the text that each is in, and its place there."""
    owner = hashed.owners(starts)
    return owner, starts - (np.cumsum(hashed.lengths) - hashed.lengths)[owner]


def _by_text(places: Places, owner: Places) -> list[Places]:
    """The places, parted where another text begins."""
    if not len(places):
        return []
    return np.split(places, np.flatnonzero(np.diff(owner[places])) + 1)


def _whole(text: str) -> str:
    return " ".join(words(text))
