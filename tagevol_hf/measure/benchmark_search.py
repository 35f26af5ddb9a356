"""Benchmarks' questions, ready to be searched for in many texts at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from ..errors import DataError
from .alignment import common_words, longest_run, stretch
from .gram_index import GramIndex, Pair, similar
from .grams import HashedTexts, WordHashes
from .words import bare_words, words

_ANCHORS = 3  # words; a tenth of the words of a question cannot touch more than three tenths of its 3-grams
_RAREST = 0.5  # of these, the rarer half is looked up,
_ANCHORED = 0.25  # and a quarter of that half is left when any tenth of the words is replaced
_MOST_CHARS = 4  # of a whole short text for one of its words' characters, with signs and blanks in plenty


@dataclass(frozen=True)
class Rule:
    """When a text counts as holding a question.

    Words are compared without case, punctuation, symbols and digits (Tag-Evol's test script). A phrase that many
    questions have points to none of them, so an n-gram of more than `gram_index.COMMON` questions does not count; and
    a phrase that a question shares with the world is but a small part of it, so `share` of its n-grams must be there.

    Attributes:
        n: Lengths of n-grams, in words, each >= 1; the question must be that long. One of them is enough.
        share: Least share of a question's n-grams that the text has, in [0, 1]; 0 takes any one n-gram, as Tag-Evol.
        near: Least share of the question's words that stand in the text in the same order and close together, in
            (0, 1]; None does not look for that. It finds a question of which words were changed all over. Of two
            questions that differ in one word of ten it cannot tell which one is meant.
    """

    n: tuple[int, ...] = (8, 13)
    share: float = 0.5
    near: float | None = 0.8

    def __post_init__(self) -> None:
        if not self.n or min(self.n) < 1:
            raise DataError(f"decontaminate.n: expected lengths of at least 1 word, got {list(self.n)}")
        for name, value in (("share", self.share), ("near", 1.0 if self.near is None else self.near)):
            if not 0 <= value <= 1:
                raise DataError(f"decontaminate.{name}: expected a share from 0 to 1, got {value}")

    @property
    def shortest(self) -> int:
        """Questions of fewer words than this are compared as a whole, digits included."""
        return min(self.n)


@dataclass(frozen=True, order=True)
class Match:
    """A question that a text holds.

    Attributes:
        reference: Name of the benchmark.
        number: Number of its row, from 0; the first of those with the same words.
        how: "same" (a short text, as a whole), "13-gram" and the like, or "near".
        share: Of the question's n-grams, or for "near" of its words; 1 for "same".
        words: The longest sequence of words that both have.
    """

    reference: str
    number: int
    how: str
    share: float
    words: str


@dataclass(frozen=True)
class BenchmarkSearch:
    """Finds benchmarks' questions in texts.

    Attributes:
        questions: (reference, number, words) of each question of `rule.shortest` words or more.
        short: A whole shorter question → its (reference, number), at most one for a reference.
        longest: Characters that a short question has at the most, as it may be written.
        indices: For each n, the longest first.
        anchors: For near matches, or None.
        hashes: Of words that were met.
    """

    rule: Rule
    questions: Sequence[tuple[str, int, list[str]]]
    short: Mapping[str, Sequence[tuple[str, int]]]
    longest: int
    indices: Sequence[GramIndex]
    anchors: GramIndex | None
    hashes: WordHashes = field(default_factory=WordHashes)

    @classmethod
    def of(cls, references: Mapping[str, Sequence[str | None]], rule: Rule) -> BenchmarkSearch:
        """Index the questions of benchmarks; name → texts, of which null and empty ones are never found."""
        questions: dict[tuple[str, tuple[str, ...]], int] = {}
        short: dict[str, dict[str, int]] = {}
        for name, texts in sorted(references.items()):
            for number, text in enumerate(texts):
                bare = bare_words(text or "")
                if len(bare) >= rule.shortest:
                    questions.setdefault((name, tuple(bare)), number)
                elif whole := _whole(text or ""):
                    short.setdefault(whole, {}).setdefault(name, number)
        hashed = HashedTexts.of((bare for _, bare in questions), WordHashes())
        return cls(
            rule,
            [(name, number, list(bare)) for (name, bare), number in questions.items()],
            {whole: tuple(found.items()) for whole, found in short.items()},
            100 + _MOST_CHARS * max(map(len, short), default=0),
            [GramIndex.of(hashed, n) for n in sorted(set(rule.n), reverse=True)],
            None if rule.near is None else GramIndex.of(hashed, _ANCHORS, _RAREST),
        )

    def find(self, texts: Sequence[Sequence[str]]) -> list[list[Match]]:
        """The matches of each text, sorted, at most one for a benchmark: of the strictest way with the largest share.

        Args:
            texts: Parts of each text. A short question must be one of them; others may run from one part to the next.
        """
        whole = ["\n\n".join(parts) for parts in texts]
        hashed = HashedTexts.of(map(bare_words, whole), self.hashes)
        found: list[dict[str, Match]] = [{} for _ in texts]
        for matches, parts in zip(found, texts, strict=True):
            for match in self._same(parts):
                matches.setdefault(match.reference, match)
        for index in self.indices:
            self._add(found, whole, similar(index, hashed, self.rule.share), _Grams(index.n))
        if self.anchors is not None and self.rule.near is not None:
            self._add(found, whole, similar(self.anchors, hashed, _ANCHORED), _Near(self.rule.near))
        return [sorted(matches.values()) for matches in found]

    def _same(self, parts: Sequence[str]) -> Iterator[Match]:
        for part in parts if self.short else ():
            if len(part) <= self.longest and (whole := _whole(part)) in self.short:
                yield from (Match(name, number, "same", 1.0, whole) for name, number in self.short[whole])

    def _add(
        self,
        found: Sequence[dict[str, Match]],
        whole: Sequence[str],
        pairs: Sequence[Pair],
        way: _Way,
    ) -> None:
        """For each text and each benchmark that has no match yet the first that holds, the largest share first."""
        order = sorted(pairs, key=lambda pair: (pair[0], -pair[2], pair[1]))
        for text, group in groupby(order, key=itemgetter(0)):
            given = bare_words(whole[text])
            for _, question, share in group:
                name, number, asked = self.questions[question]
                if name not in found[text] and (held := way.held(asked, given, share)):
                    run = " ".join(longest_run(asked, given))
                    found[text][name] = Match(name, number, way.name, round(held, 4), run)


class _Way(Protocol):
    """A way to hold a question."""

    @property
    def name(self) -> str:
        """As `Match.how`."""
        ...

    def held(self, question: Sequence[str], text: Sequence[str], share: float) -> float:
        """How much of the question the text holds, 0 if that is not enough; `share` is that of the n-grams."""
        ...


@dataclass(frozen=True)
class _Grams:
    n: int

    @property
    def name(self) -> str:
        return f"{self.n}-gram"

    def held(self, question: Sequence[str], text: Sequence[str], share: float) -> float:
        """The share of the n-grams, if it is not by chance that hashes are the same."""
        return share if len(longest_run(question, text)) >= self.n else 0.0


@dataclass(frozen=True)
class _Near:
    least: float
    name: str = "near"

    def held(self, question: Sequence[str], text: Sequence[str], share: float) -> float:
        """The share of the words, in their order and close together."""
        held = common_words(question, stretch(question, text)) / len(question)
        return held if held >= self.least else 0.0


def _whole(text: str) -> str:
    return " ".join(words(text))
