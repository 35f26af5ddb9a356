"""Rules for the prompts that tag: key phrases serve as tags."""

from __future__ import annotations

import json

from ..base import Request
from .text import kinds_of, phrases_of, section, words_of


def aspect_tags(prompt: str, request: Request) -> str:
    """Key phrases as tags, under set aspects."""
    text = section(prompt, "instruction")
    phrases = phrases_of(text, 6)
    words = [word for word in words_of(text) if len(word) > 4][:3]
    aspects = [{"aspect": "subject", "tags": phrases[:4]}, {"aspect": "required skill", "tags": kinds_of(text)}]
    if phrases[4:]:
        aspects.append({"aspect": "detail", "tags": phrases[4:]})
    if words:
        aspects.append({"aspect": "term", "tags": words})
    return json.dumps({"aspects": aspects}, ensure_ascii=False)


def name_aspects(prompt: str, request: Request) -> str:
    """The aspects under which `aspect_tags` finds something."""
    most = (request.schema or {})["properties"]["aspects"]["maxItems"]
    found = json.loads(aspect_tags(prompt, request))["aspects"]
    return json.dumps({"aspects": [part["aspect"] for part in found][:most]})


def fill_aspects(prompt: str, request: Request) -> str:
    """Key phrases in turn under each aspect."""
    lists = (request.schema or {})["properties"]
    text = section(prompt, "instruction")
    phrases = phrases_of(text, 3 * len(lists))
    tags = {number: phrases[place :: len(lists)][: lists[number]["maxItems"]] for place, number in enumerate(lists)}
    return json.dumps({number: found or kinds_of(text)[:1] for number, found in tags.items()}, ensure_ascii=False)


def open_tags(prompt: str, request: Request) -> str:
    """The kind of task, and a few key phrases."""
    text = section(prompt, "query")
    tags = [{"tag": kind, "explanation": "A word of the query points to this task."} for kind in kinds_of(text)]
    tags += [{"tag": tag, "explanation": "The query names it."} for tag in phrases_of(text, 3)]
    most = (request.schema or {})["properties"]["tags"]["maxItems"]
    return json.dumps({"tags": tags[:most]}, ensure_ascii=False)
