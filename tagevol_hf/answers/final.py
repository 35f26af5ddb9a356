"""The final answer of a response in words and formulas; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"^\s*####(?!#)\s*(\S.*?)\s*$", re.MULTILINE)
_SAID = re.compile(
    r"\banswer\b[^\n.:]{0,60}?(?:\bis\b|\bare\b|[:=：])[\s*:]*|\banswer\W{0,6}\n\s*|答案\s*(?:是|为|为：|：|:)\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\.(?:\s|$)|[\n。；;]|,?\s(?:because|since|so that|which)\b")
_MATH = re.compile(r"^\$+([^$]+)\$+|^\\\((.+?)\\\)|^\\\[(.+?)\\\]", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]{3,}")
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|(?<![\w.])-?\.\d+")


def final_answer(response: str) -> str | None:
    r"""The final answer, or None where there is none.

    The first of these that the response has; of each kind its last: `\boxed{…}`; a line `#### …` (GSM8K); the words
    "the answer is …" to the end of the sentence; a number.
    """
    ways = (_boxed, _after_hashes, _said, _last_number)
    return next((found for way in ways if (found := way(response))), None)


def _boxed(text: str) -> str | None:
    """What the last box holds that is closed."""
    boxes = [box for match in _BOX.finditer(text) if (box := _braced(text, match.end())) is not None]
    return next((bare for box in reversed(boxes) if (bare := box.strip())), None)


def _braced(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes, of at most 2,000 characters."""
    depth = 1
    for place, char in _braces(text, start):
        depth += 1 if char == "{" else -1
        if depth == 0:
            return text[start:place]
    return None


def _braces(text: str, start: int) -> Iterator[tuple[int, str]]:
    for match in re.finditer(r"\\.|[{}]", text[start : start + 2000], re.DOTALL):
        if match.group(0) in "{}":
            yield start + match.start(), match.group(0)


def _after_hashes(text: str) -> str | None:
    lines = _HASHES.findall(text)
    return str(lines[-1]) if lines else None


def _said(text: str) -> str | None:
    """What follows the last "answer is", "Answer:" or the like."""
    for match in reversed(list(_SAID.finditer(text))):
        rest = text[match.end() : match.end() + 400].lstrip(" *")
        formula = _MATH.match(rest)
        said = next(filter(None, formula.groups()), "") if formula else _SENTENCE_END.split(rest, maxsplit=1)[0]
        if bare := said.strip(" *\t\"'`"):
            return _in_prose(bare)
    return None


def _in_prose(said: str) -> str:
    """The number where words stand around a single one, as in "a total of 5 apples"."""
    numbers = _NUMBER.findall(said)
    return numbers[0] if len(numbers) == 1 and "\\" not in said and _WORD.search(said) else said


def _last_number(text: str) -> str | None:
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]) if numbers else None
