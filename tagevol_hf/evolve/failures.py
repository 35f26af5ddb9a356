"""What tells from an answer that its instruction was evolved badly (Auto Evol-Instruct, section 3.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "stagnant_complexity": "the answer acknowledges or asks back: it begins so and ends with a question mark",
        "insufficient_qualification": 'the answer agrees and asks back: it begins with "Sure" and ends with "?"',
        "loss_of_key_information": 'the answer says "please provide"',
    }
)

_ACKNOWLEDGES = re.compile(r"\W*(?:understood|thank you|thanks|what|that is correct|that['’]s correct|great)\b", re.I)
_AGREES = re.compile(r"\W*sure\b", re.IGNORECASE)
_ASKS_FOR_MORE = re.compile(r"\bplease provide\b", re.IGNORECASE)


def failure_of(answer: str) -> str | None:
    """The failure that an answer shows, a key of `FAILURES`; None for an ordinary one."""
    text = answer.strip()
    if _ASKS_FOR_MORE.search(text):
        return "loss_of_key_information"
    if not text.endswith(("?", "？")):
        return None
    if _AGREES.match(text):
        return "insufficient_qualification"
    return "stagnant_complexity" if _ACKNOWLEDGES.match(text) else None
