"""Is a rewrite an instruction, a new one, and still the seed's? Rules on the text alone.

A rule that fires wrongly costs a good row, so each is narrow: words that the seed has itself never count against the
rewrite, and what is not sure passes.
"""

from __future__ import annotations

import re

from ..errors import ParseError
from .language import changed_language

_LEAKS = re.compile(
    r"</?(?:instruction|additional_input|candidates|tags|own_tags|seed)>|candidate tags?\b|chosen tags\b|#\s*tag|"
    r"(?:rewritten|evolved|original|final) (?:instruction|version|prompt)\s*:|"
    r"\b(?:the|#)\s*(?:rewritten|evolved) (?:instruction|prompt)\b|\b(?:given|rewritten|created) prompt\b|#\w+ prompt#",
    re.IGNORECASE,
)
_REFUSALS = re.compile(
    r"\A\W*(?:(?:i['’]?m|i am) (?:very |so |really )?sorry,? (?:but )?i (?:can|am|won)|"
    r"(?:sorry|unfortunately|apologies|my apologies),? (?:but )?i (?:can ?not|can['’]t|am unable|am not able|won['’]t)|"
    r"i (?:can ?not|can['’]t|won['’]t|am unable to|am not able to|must decline to) "
    r"(?:help (?:you )?with|assist|comply|fulfil|rewrite|evolve|generate|create (?:this|that|such)|"
    r"provide (?:this|that|such)|answer|do (?:this|that))|as an? (?:ai|large)[ -](?:language )?(?:model|assistant))",
    re.IGNORECASE,
)
_ANSWERS = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|absolutely|okay|ok)\b[,!.:]? *"
    r"(?:here(?:['’]s| is| are)|i['’]ll|i will|let['’]s)|"
    r"here(?:['’]s| is| are) (?:the|a|an|my|your|one) (?:\w+ ){0,3}(?:answer|solution|response|result|version|"
    r"instruction|prompt|rewrite|implementation)\b|"
    r"(?:final )?answer ?:|solution ?:|the (?:final |correct )?answer is\b|to solve this\b|let['’]s (?:solve|break)\b|"
    r"step 1 ?[:.)]|```|def \w+\(|#include\b|import \w+\n)|"
    r"\\boxed\{|^#### ?-?[\d$]|^\W*(?:final )?answer ?: ?\$?-?\d",
    re.IGNORECASE | re.MULTILINE,
)
_MATERIAL = re.compile(
    r"```[^\n]*\n(?P<code>.*?)```|(?P<row>^ *\|.*\| *$)|(?P<url>https?://[^\s)>\]]+)|\"(?P<quote>[^\"\n]{20,})\"|"
    r"“(?P<curly>[^”]{20,})”|\$\$(?P<formula>.*?)\$\$|\\\[(?P<display>.*?)\\\]",
    re.DOTALL | re.MULTILINE,
)
_POINTING = re.compile(
    r"\b(?:following|given|provided|above|below|this|these|those|input|inputs|attached|supplied|"
    r"the (?:text|passage|sentence|sentences|paragraph|article|list|table|data|code|email|story|poem|words?|numbers?|"
    r"statement|quote|dialogue|conversation|review|document))\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{1,2}|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_MARKS = re.compile(r"[\W_]+")
_KEPT = 0.5  # share of a piece's words that must still be there


def check_rewrite(seed: str, evolved: str, given: str = "", most_words: int | None = None) -> None:
    """Refuse a rewrite that is none.

    Args:
        seed: The text that was to be rewritten.
        evolved: The rewrite.
        given: The row's additional input, which stays beside the rewrite.
        most_words: How many words it may have more than the seed; None for any number. (Two Chinese or Japanese
            characters count as a word.)

    Raises:
        ParseError: "empty_reply", "unchanged", "refusal", "leaked_prompt", "answer_not_instruction",
            "too_much_growth", "language_changed" or "lost_input"; the first that applies.
    """
    if not evolved.strip():
        raise ParseError("empty_reply", "the final instruction is blank")
    if _plain(evolved) == _plain(seed):
        raise ParseError("unchanged")
    for rule, reason in ((_REFUSALS, "refusal"), (_LEAKS, "leaked_prompt"), (_ANSWERS, "answer_not_instruction")):
        found = rule.search(evolved)
        if found and not rule.search(seed) and _plain(found.group(0)) not in _plain(seed):
            raise ParseError(reason, " ".join(found.group(0).split()))
    if most_words is not None and (grown := count_words(evolved) - count_words(seed)) > most_words:
        raise ParseError("too_much_growth", f"{grown} words more than the seed, at most {most_words} are accepted")
    if (change := changed_language(seed, evolved)) is not None:
        raise ParseError("language_changed", change)
    check_material(seed, evolved, given)


def check_material(seed: str, evolved: str, given: str = "") -> None:
    """Refuse a rewrite that lost what the seed works on.

    That is code in fences, rows of a table, addresses, quotations of 20 characters or more, displayed formulas; and,
    where the row has an additional input to which the seed points, any word that points to it.

    Raises:
        ParseError: "lost_input", with the piece.
    """
    there = set(_words(evolved))
    for match in _MATERIAL.finditer(seed):
        piece = next(text for text in match.groups() if text is not None)
        words = _words(piece)
        if words and sum(word in there for word in words) < _KEPT * len(words):
            raise ParseError("lost_input", f"{' '.join(piece.split())[:80]!r} is gone")
    if given.strip() and _POINTING.search(seed) and not _POINTING.search(evolved):
        words = _words(given)
        if sum(word in there for word in words) < _KEPT * len(words):
            raise ParseError("lost_input", "nothing points to the additional input any more")


def count_words(text: str) -> int:
    """Words, of any script; two Chinese or Japanese characters count as one."""
    return len(_WORD.findall(text))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _plain(text: str) -> str:
    return _MARKS.sub(" ", text).strip().casefold()
