"""The key under which tags are merged by rule: Unicode, case, punctuation and English inflection.

The key is never shown; it only says which tags are the same. Letters, marks and digits of every script stay.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

Stem = Literal["inflection", "porter", "phrase", "none"]

_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b")
_STRAY_SIGN = re.compile(r"(?<![^\s])[+#]+")  # "c++" and "c#" keep their signs, "#1" and "+" do not
_ENGLISH = re.compile(r"[a-z]{4,}")
_NO_PLURAL = frozenset({"news", "https", "always", "perhaps"})
_VOWELS = re.compile(r"[aeiou]|(?<!^)y")


def rule_key(tag: str, stem: Stem = "inflection") -> str:
    """The key of a tag; equal keys mean equal tags.

    Args:
        tag: Any text.
        stem: What is taken off English words. "inflection": the plural of every word, and -ing or -ed of the last
            word of a phrase ("goal-setting" = "goal set", but "setting" is not "set"). "porter": the Porter stem of
            every word, as InsTag does (it also merges "conversion" with "conversation"). "phrase": the Porter stem of
            the whole phrase as if it were one word, as TACOS' released code does. "none": nothing.
    """
    words = plain(tag).split()
    if stem == "phrase":
        return _porter()(" ".join(words))
    if stem == "porter":
        return " ".join(_porter()(word) for word in words)
    if stem == "inflection":
        words = [_singular(word) for word in words]
        words[1:] = [*words[1:-1], *(_base(word) for word in words[1:][-1:])]
    return " ".join(words)


def plain(tag: str) -> str:
    """A tag in NFKC and lower case with one space in place of every run of punctuation; may be empty.

    A text of nothing but signs keeps them.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", tag).lower())
    bare = "".join(map(_spaced, _POSSESSIVE.sub("", folded)))
    return " ".join(_STRAY_SIGN.sub(" ", bare).split()) or " ".join(folded.split())


def _spaced(char: str) -> str:
    kind = unicodedata.category(char)
    if kind[0] in "LMN" or char in "+#":
        return char
    return "" if kind == "Cf" else " "  # a format character, as the zero-width joiner, joins


def _singular(word: str) -> str:
    if not _ENGLISH.fullmatch(word) or word in _NO_PLURAL or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    return word.removesuffix("s")


def _base(word: str) -> str:
    """The word without -ing, -ed or a silent e (steps 1b and 5a of Porter's algorithm)."""
    if not _ENGLISH.fullmatch(word):
        return word
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and not word.endswith("eed") and _VOWELS.search(root):
            return _mended(root)
    return _mute(word)


def _mended(root: str) -> str:
    if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "aeiouylsz":
        return root[:-1]
    return root + "e" if _short(root) else _mute(root)


def _mute(word: str) -> str:
    root = word.removesuffix("e")
    return word if len(root) < 3 or _short(root) else root


def _short(root: str) -> bool:
    """One vowel group at most and a consonant, a vowel, a consonant at the end: "hop" comes from "hope"."""
    shape = _VOWELS.sub("v", root)
    shape = "".join("v" if mark == "v" and char in "aeiouy" else "c" for mark, char in zip(shape, root, strict=True))
    return shape.endswith("cvc") and root[-1] not in "wxy" and shape.count("vc") == 1


@functools.cache
def _porter() -> Callable[[str], str]:
    import snowballstemmer

    stemmer: Any = snowballstemmer.stemmer("porter")
    return functools.lru_cache(maxsize=100_000)(stemmer.stemWord)
