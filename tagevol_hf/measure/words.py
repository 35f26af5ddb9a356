"""Text → words, for all scripts: a Han or Kana character is a word of its own, as such text has no blanks."""

from __future__ import annotations

import unicodedata

# Han, Kana and their iteration marks; Hangul is not here: Korean has blanks between its words.
_CJK = (
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


def words(text: str) -> list[str]:
    """Lower-case words (NFKC); punctuation and symbols part words and leave, digits stay."""
    return _folded(text).translate(_SIGNLESS).split()


def bare_words(text: str) -> list[str]:
    """As `words`, without digits: the form in which Tag-Evol looks for contamination."""
    return _folded(text).translate(_BARE).split()


def count_words(text: str) -> int:
    """Length in words: runs of characters between blanks, and each Han or Kana character by itself."""
    return len((text if text.isascii() else text.translate(_SPACED)).split())


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()


def _is_cjk(code: int) -> bool:
    return any(first <= code <= last for first, last in _CJK)


class _Spaced(dict[int, str]):
    """For `str.translate`: CJK characters between blanks, CJK punctuation as a blank, all others as they are."""

    def __missing__(self, code: int) -> str:
        self[code] = found = self.replacement(code, chr(code))
        return found

    def replacement(self, code: int, char: str) -> str:
        if _is_cjk(code) and char.isalnum():
            return f" {char} "
        is_cjk_sign = 0x3000 <= code <= 0x30FF or 0xFF00 <= code <= 0xFF65
        return " " if is_cjk_sign and unicodedata.category(char)[0] in "PZ" else char


class _Without(_Spaced):
    """For `str.translate`: categories of characters as a blank, CJK characters between blanks."""

    def __init__(self, categories: str) -> None:
        super().__init__()
        self._categories = categories

    def replacement(self, code: int, char: str) -> str:
        kind = unicodedata.category(char)
        if kind == "Cf":
            return ""  # a format character, as the zero-width joiner, joins
        return " " if kind[0] in self._categories else super().replacement(code, char)


_SPACED = _Spaced()
_SIGNLESS = _Without("PSZC")
_BARE = _Without("PSZCN")
