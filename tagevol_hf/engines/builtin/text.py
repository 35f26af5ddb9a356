"""Reading a prompt of this project by rule: its sections, their content words, key phrases and kinds of task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being between both but by
can could did do does doing down each few for from further had has have having he her here his how i if in
into is it its just let me more most my no nor not now of off on once only or other our out over own please
same she should so some such than that the their them then there these they this those through to too under
until up us use using very was we were what when where which while who whom why will with would you your yours
give make write create describe explain list tell following given one two three four five ten include
including least must without
take account work result show follows matters matter meet change let further condition comes cover special
case changes outcome
"""  # function words, and verbs that every instruction has
_STOP = frozenset(_STOP_WORDS.split())
_KINDS = {
    "write compose draft story poem essay letter email e-mail slogan": "creative writing",
    "summarize summarise summary shorten condense": "summarization",
    "translate translation spanish french german": "translation",
    "classify categorize categorise label sort sentiment": "classification",
    "calculate solve compute sum many much percent average equation": "mathematics",
    "code function program python javascript sql algorithm script": "programming",
    "plan schedule itinerary steps organize organise prepare": "planning",
    "explain why how describe define difference": "explanation",
    "suggest recommend tips advice improve ideas brainstorm": "advice",
    "rewrite edit correct fix grammar rephrase paraphrase": "editing",
}


def section(prompt: str, tag: str) -> str:
    """The text between the last opening of a tag and its closing; the row's part comes last in a prompt."""
    _, _, after = prompt.rpartition(f"<{tag}>\n")
    return after.partition(f"\n</{tag}>")[0].strip()


def words_of(text: str) -> list[str]:
    """Content words in lower case."""
    return [word.lower() for word in _WORD.findall(text) if word.lower() not in _STOP and len(word) > 1]


def phrases_of(text: str, most: int) -> list[str]:
    """Runs of up to three content words, longer ones first, at most 60 characters each."""
    runs: list[list[str]] = [[]]
    for match in re.finditer(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]", text[:4000]):
        word = match.group(0).lower()
        if word in _STOP or not word[0].isalnum() or len(word) < 2 or len(runs[-1]) == 3:
            runs.append([])
        if word[0].isalnum() and word not in _STOP and len(word) > 1:
            runs[-1].append(word)
    phrases = dict.fromkeys(" ".join(run)[:60].strip() for run in runs if run)
    ranked = sorted(phrases, key=lambda phrase: -phrase.count(" "))
    return _fallback(ranked[:most], text)


def kinds_of(text: str) -> list[str]:
    """At most two kinds of task that a word of the text points to."""
    words = set(_WORD.findall(text.lower()))
    return [kind for keys, kind in _KINDS.items() if words.intersection(keys.split())][:2] or ["general knowledge"]


def _fallback(found: Sequence[str], text: str) -> list[Any]:
    return list(found) or [text.strip()[:20] or "empty"]
