"""Two scores, or a verdict, out of a judge's free text, in the forms that judges use.

Strict about content: what is not there, or is there twice with different numbers, is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from ..errors import ParseError

Scores = tuple[float, float]

# The forms are looked for in a text without marks: [Response 1]: **[85]** becomes Response 1 : 85.
_MARKS = re.compile(r"[][\"'’`*_{}#]")
_PARENTHESES = re.compile(r"\(([12ab])\)", re.IGNORECASE)
_SPACES = re.compile(r"[ \t]+")

_NUMBER = r"(-?\d+(?:\.\d+)?)(?![\d%])(?!\.\d|,\d{3})(?: ?(?:/|out of) ?\d+)?"
_KIND = r"(?:response|assistant|answer|output|item|candidate|model|completion)"
_PLACE = rf"(?:{_KIND} ?([12ab])|(first|second)(?: {_KIND})?)"
_END = rf"(?= ?(?:points?\b|$|[.,;|(\n–—-]|{_KIND}\b))"
_FIRST = frozenset({"1", "a", "first"})

_LABELS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"\b{_PLACE} ?[:=] ?{_NUMBER}{_END}",  # Response 1: 85   Assistant 2: 7/10 (why)   first: 8, second: 9
        rf"\b{_PLACE}(?: s)?(?: (?:overall|final|total))? (?:score|rating) ?(?::|=|is|of) ?{_NUMBER}",
        rf"\b(?:score|rating)(?: (?:of|for)(?: the)? {_KIND})? ?([12ab]) ?(?::|=|is) ?{_NUMBER}",
    )
)
_LINE = re.compile(rf"\(?{_NUMBER}(?: ?[,;|&/] ?| and | ){_NUMBER}[).]*")  # 8 9   8.5, 9   8/10 9/10
_COUPLE = re.compile(rf"\b(?:scores?|ratings?|output) ?(?::|=|are) ?\({_NUMBER}, ?{_NUMBER}\)", re.IGNORECASE)

_ONE_OUTPUT = re.compile(r"[\"'*]*output \(([ab])\)[\"'*.]*", re.IGNORECASE)
_BETTER = re.compile(r"\boutput \(([ab])\)[*\"']* is (?:the )?better\b", re.IGNORECASE)


def scores_in_text(text: str) -> Scores:
    """The scores of the first and the second item in a reply that is no JSON; their range is left to the caller.

    Understood are two numbers by themselves on the first line ("8 9"), labelled scores ("[Response 1]: [85]",
    "Response 1 Score: 8", "Score of the Assistant 1: 9", "Assistant A: 7/10", '"first_score": 40'), and a couple after
    the word ("the scores are (1, 5)"). The same scores may stand there several times.

    Raises:
        ParseError: "not_json" where none of these forms is there, one item has no score, or the scores differ.
    """
    found = set(_found(text))
    if len(found) == 1:
        return found.pop()
    if not found:
        raise ParseError("not_json", 'no JSON, and no two scores such as "8 9" or "[Response 1]: [85]" for both items')
    listed = " and ".join(sorted(f"{first:g} {second:g}" for first, second in found))
    raise ParseError("not_json", f"no JSON, and more than one couple of scores: {listed}")


def verdict_in_text(text: str) -> Literal["first", "second"]:
    """Which of the outputs (a) and (b) a reply prefers: it is all of the reply, or the reply says that it is better.

    Raises:
        ParseError: "not_json" where no output is named so, or both are.
    """
    alone = _ONE_OUTPUT.fullmatch(text.strip())
    named = {alone[1].lower()} if alone else {match[1].lower() for match in _BETTER.finditer(text)}
    if len(named) != 1:
        raise ParseError("not_json", f'looked for "Output (a)" or "Output (b) is better", found {len(named)} of them')
    return "first" if named == {"a"} else "second"


def _found(text: str) -> Iterator[Scores]:
    plain = _SPACES.sub(" ", _PARENTHESES.sub(r" \1 ", _MARKS.sub(" ", text.strip())))
    line = _LINE.fullmatch(plain.strip().partition("\n")[0].strip())
    for couple in (*_COUPLE.finditer(plain), *([line] if line else [])):
        yield float(couple[1]), float(couple[2])
    first, second = _labelled(plain)
    yield from ((one, two) for one in first for two in second)


def _labelled(plain: str) -> tuple[set[float], set[float]]:
    """All labelled scores of each item."""
    sides: tuple[set[float], set[float]] = (set(), set())
    for form in _LABELS:
        for match in form.finditer(plain):
            label, number = [group for group in match.groups() if group is not None]
            sides[label.lower() not in _FIRST].add(float(number))
    return sides
