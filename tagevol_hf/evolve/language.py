"""Whether a rewrite is in another language than its seed; in doubt it is not.

Scripts decide first, by Unicode. Inside a script py3langid decides, and only where both texts point away from each
other. Code, formulas, addresses and quotations have no say, and a text that keeps half of the other's words is in its
language.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from math import log
from typing import Any

_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)|https?://\S+|\"[^\"]*\"|“[^”]*”|«[^»]*»|"
    r"「[^」]*」",
    re.DOTALL,
)
_READ = 8000  # characters that are looked at
_FEWEST_LETTERS = 10  # for a script
_FEWEST_IN_SCRIPT = 20  # for a language inside a script
_MAIN_SHARE = 0.7  # of the letters, for a text's script
_GONE = 0.1  # of the letters, at most, that a script which has gone still has
_SURE = 5.5  # natural logarithm of how many times likelier one language is; English texts give at most 4.2 to others
_CJK = ("HIRAGANA", "KATAKANA", "CJK")
_WEIGHTS = {"CJK": 3, "HIRAGANA": 2, "KATAKANA": 2, "HANGUL": 2}  # letters of an alphabet that a sign stands for
_FEWEST_WITHOUT_KANA = 20  # Chinese characters; a Japanese heading may have that many
_BOTH_SCRIPTS = frozenset({"sr", "bs", "hr", "mk", "uz", "kk", "az", "ku", "mn", "tt"})  # written in two scripts
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def changed_language(before: str, after: str) -> str | None:
    """What changed, as "de → en" or "Latin → Cyrillic"; None where nothing did or it is not sure."""
    first, second = _prose(before), _prose(after)
    if _keeps_words(first, second):
        return None
    shares = _shares(first), _shares(second)
    scripts = _main(shares[0]), _main(shares[1])
    if scripts[0] is None or scripts[1] is None:
        return None
    if scripts[0] == scripts[1]:
        return _inside_a_script(first, second)
    if shares[1].get(scripts[0], 0.0) > _GONE or _two_scripts_of_one(first, second):
        return None
    if set(scripts) == {"Cjk", "Japanese"} and not _surely_chinese((first, second)[scripts.index("Cjk")]):
        return None
    return f"{scripts[0]} → {scripts[1]}"


def _inside_a_script(first: str, second: str) -> str | None:
    if min(_letters(first), _letters(second)) < _FEWEST_IN_SCRIPT:
        return None
    old, new = _languages(first), _languages(second)
    was, is_now = max(old, key=old.__getitem__), max(new, key=new.__getitem__)
    sure = min(_times(old, was, is_now), _times(new, is_now, was))
    return f"{was} → {is_now}" if sure >= _SURE else None


def _prose(text: str) -> str:
    return unicodedata.normalize("NFKC", _NOT_PROSE.sub(" ", text[:_READ]))


def _keeps_words(first: str, second: str) -> bool:
    words, others = (set(map(str.casefold, _WORD.findall(text))) for text in (first, second))
    return 2 * len(words & others) >= len(words)


def _letters(text: str) -> int:
    return sum(char.isalpha() for char in text)


def _shares(text: str) -> dict[str, float]:
    """Scripts with their share of the letters; empty where there are too few letters."""
    counts: Counter[str] = Counter()
    for char, number in Counter(filter(str.isalpha, text)).items():
        script = _script_of(char)
        counts[script] += number * _WEIGHTS.get(script, 1)
    total = counts.total()
    if counts["HIRAGANA"] + counts["KATAKANA"] > 0.1 * sum(counts[name] for name in _CJK):
        counts["JAPANESE"] = sum(counts.pop(name, 0) for name in _CJK)
    return {name.capitalize(): number / total for name, number in counts.items()} if total >= _FEWEST_LETTERS else {}


def _main(shares: dict[str, float]) -> str | None:
    """The script of most letters, if most it is."""
    name = max(shares, key=shares.__getitem__, default=None)
    return name if name and shares[name] >= _MAIN_SHARE else None


@lru_cache(maxsize=8192)
def _script_of(char: str) -> str:
    return unicodedata.name(char, "UNKNOWN").split()[0]


def _surely_chinese(text: str) -> bool:
    return sum(_script_of(char) == "CJK" for char in text) >= _FEWEST_WITHOUT_KANA


def _two_scripts_of_one(first: str, second: str) -> bool:
    """Whether it may be the same language in another of its scripts, as with Serbian."""
    return all(max(found := _languages(text), key=found.__getitem__) in _BOTH_SCRIPTS for text in (first, second))


def _times(shares: dict[str, float], one: str, other: str) -> float:
    """Logarithm of how many times likelier the one language is than the other."""
    return log(max(shares[one], 1e-30) / max(shares[other], 1e-30))


def _languages(text: str) -> dict[str, float]:
    """Probability by language code."""
    return {str(name): float(share) for name, share in _identifier().rank(text)}


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
