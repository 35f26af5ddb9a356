"""Numbers, times and texts in the form in which people read them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from .values import number_of

SPACE = "\u00a0"  # does not break at the end of a line


def count(value: Any) -> str:
    """1234 → "1,234"; what is no number becomes "–"."""
    number = number_of(value)
    return "–" if number is None else f"{round(number):,}"


def decimal(value: Any) -> str:
    """A number with about three significant digits: 3.14159 → "3.14", 1234.5 → "1,234", 2e-05 → "2e-05"."""
    number = number_of(value)
    if number is None:
        return "–"
    size = abs(number)
    if size >= 100 or size == round(size):
        text = f"{size:,.0f}"
    else:
        text = f"{size:.3g}" if size < 0.01 or size >= 10 else f"{size:.2f}"
    return f"−{text}" if number < 0 else text


def percent(part: Any, whole: Any = 1) -> str:
    """A share of a whole: (41, 100) → "41 %", (1, 250) → "0.4 %"."""
    share, base = number_of(part), number_of(whole)
    if share is None or not base:
        return "–"
    value = 100 * share / base
    digits = 1 if 0 < abs(value) < 9.95 and value != round(value) else 0
    return f"{value:.{digits}f}{SPACE}%".replace("-", "−")


def width(share: float) -> str:
    """A share, brought into 0..1, as a CSS width: 0.41 → "41.0%"."""
    return f"{100 * min(1.0, max(0.0, share)):.1f}%"


def duration(value: Any) -> str:
    """Seconds: 3.21 → "3.2 s", 125 → "2 min 5 s", 11520 → "3 h 12 min"."""
    seconds = number_of(value)
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    if round(seconds) < 60:
        return f"{seconds:.0f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min {rest}{SPACE}s"
    return f"{minutes // 60:,}{SPACE}h {minutes % 60}{SPACE}min"


def moment(value: Any) -> str:
    """An ISO date and time: "2025-05-03T14:05:09+00:00" → "3 May 2025, 14:05 UTC"; other text unchanged."""
    try:
        when = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return str(value)
    zone = when.strftime(" %Z") if when.tzinfo else ""
    return f"{when.day} {when.strftime('%B %Y, %H:%M')}{zone}"


def plural(value: Any, noun: str) -> str:
    """(1, "row") → "1 row", (1234, "row") → "1,234 rows"."""
    return f"{count(value)} {noun}" if number_of(value) == 1 else f"{count(value)} {noun}s"


@dataclass(frozen=True)
class Cut:
    """A text for the page: what shows at once, what can be unfolded, how many characters are left out."""

    head: str
    rest: str = ""
    left_out: int = 0


def cut(text: Any, head: int = 360, most: int = 4000) -> Cut:
    """Cut a text of the data.

    Args:
        text: Any value; None is the empty text.
        head: Characters that show at once, about.
        most: Characters that are on the page at all, about.
    """
    full = "" if text is None else str(text)
    shown = full[: most + 100]
    if len(shown) <= head + max(60, head // 2):  # not worth a click
        return Cut(shown)
    first = _border(shown, head)
    last = _border(shown, most)
    return Cut(shown[:first], shown[first:last], len(full) - last)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with U+FFFD for what no page can hold: control characters and halves of surrogate pairs."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def _border(text: str, near: int) -> int:
    """The place at or before `near` where a word ends; else one that splits no visible character."""
    if near >= len(text):
        return len(text)
    space = max(text.rfind(" ", near - 40, near), text.rfind("\n", near - 40, near))
    if space > 0:
        return space
    while near < len(text) and (_joins(text[near]) or text[near - 1] == "\u200d"):
        near += 1
    return near


def _joins(character: str) -> bool:
    modifier = "\U0001f3fb" <= character <= "\U0001f3ff"
    return modifier or character == "\u200d" or unicodedata.category(character).startswith("M")


_EAST = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # written without spaces: each character is a token
_TOKEN = re.compile(rf"(?:[{_EAST}]|[^\W{_EAST}]+|[^\w\s])\s*|\s+")
_LONGEST_DIFF = 1600


def changes(before: str, after: str) -> list[tuple[str, bool]]:
    """The text `after` in pieces, each with whether it is new against `before`.

    A text too long to be compared in an instant comes back as one piece that is not marked.
    """
    if max(len(before), len(after)) > _LONGEST_DIFF:
        return [(after, False)]
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    matcher = SequenceMatcher(None, [token.strip() for token in old], [token.strip() for token in new], autojunk=False)
    pieces: list[tuple[str, bool]] = []
    end = 0
    for block in matcher.get_matching_blocks():
        common = new[block.b : block.b + block.size]
        words = sum(token[0].isalnum() for token in common)
        if words < 2 and block.b > 0 and block.b + block.size < len(new):
            continue  # one common word between new ones is chance
        added = "".join(new[end : block.b])
        bare = added.rstrip()
        pieces += [(bare, True), (added[len(bare) :] + "".join(common), False)]
        end = block.b + block.size
    return [piece for piece in pieces if piece[0]]


_SECRETS = (
    (re.compile(r"(?<=://)[^/@\s]+@"), "…@"),
    (re.compile(r"\b(hf_|sk-)[\w-]{12,}"), r"\1…"),
    (
        re.compile(
            r"(?i)\b((?:[a-z]+[_-])?(?:api[_-]?key|secret|password)|(?:(?:access|auth|hf)[_-])?token)\b([\"']?\s*[=:]\s*)[^\s&\"']+"
        ),
        r"\1\2…",
    ),
    (re.compile(r"(?i)\b(bearer\s+)\S+"), r"\1…"),
)


def without_secrets(text: Any) -> str:
    """The text without the user's home folder, passwords in addresses, and values that look like keys."""
    shown = "" if text is None else str(text)
    home = str(Path.home())
    if len(home) > 1:
        shown = re.sub(re.escape(home) + r"(?=$|[/\\\s:\"'])", "~", shown)
    for pattern, replacement in _SECRETS:
        shown = pattern.sub(replacement, shown)
    return shown
