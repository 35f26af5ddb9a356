"""The built-in engine: answers this project's own prompts by rule, at once and always the same.

It is no language model. It exists to try a recipe, to plan and to test: key phrases serve as tags, chosen tags are
woven into an instruction by set phrases, text statistics serve as scores. Everything that shows its output says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from .base import Reply, Request, failed

CONTEXT = 32_768  # tokens, of about four characters

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
_WEAVES = (
    "Work {} into the result.",
    "Take {} into account.",
    "Let {} matter as well.",
    "Meet a further condition that comes from {}.",
    "Let {} change the outcome.",
    "Cover one special case to do with {}.",
)


class BuiltinEngine:
    """Rules in place of a model; deterministic, and free of the order of the requests."""

    def __init__(self) -> None:
        source = Path(__file__).read_bytes()
        self.identity = f"builtin@{hashlib.sha256(source).hexdigest()[:12]}"

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """Answer each request in turn."""
        for position, request in enumerate(requests):
            yield position, _answer(request)

    def close(self) -> None:
        """Nothing to free."""


def _answer(request: Request) -> Reply:
    prompt = "\n".join(message.content for message in request.messages)
    tokens = _tokens(prompt)
    if tokens + request.sampling.max_tokens > CONTEXT:
        room = CONTEXT - request.sampling.max_tokens
        return failed("prompt_too_long", f"about {tokens} tokens, at most {room} fit before the reply")
    title = str((request.schema or {}).get("title", "respond"))
    rule = _RULES.get(title)
    if rule is None:
        return failed("refused_request", f"the built-in engine has no rule for {title!r}; use a language model")
    text = rule(request.messages[-1].content, request)
    size = _tokens(text)
    if size > request.sampling.max_tokens:
        cut = text[: request.sampling.max_tokens * 4]
        return Reply(cut, "length", tokens, request.sampling.max_tokens)
    return Reply(text, "stop", tokens, size)


def _tokens(text: str) -> int:
    return len(text) // 4 + 1


def _aspect_tags(prompt: str, request: Request) -> str:
    text = _section(prompt, "instruction")
    phrases = _phrases(text, 6)
    words = [word for word in _words(text) if len(word) > 4][:3]
    aspects = [{"aspect": "subject", "tags": phrases[:4]}, {"aspect": "required skill", "tags": _kinds(text)}]
    if phrases[4:]:
        aspects.append({"aspect": "detail", "tags": phrases[4:]})
    if words:
        aspects.append({"aspect": "term", "tags": words})
    return json.dumps({"aspects": aspects}, ensure_ascii=False)


def _open_tags(prompt: str, request: Request) -> str:
    text = _section(prompt, "query")
    tags = [{"tag": kind, "explanation": "A word of the query points to this task."} for kind in _kinds(text)]
    tags += [{"tag": tag, "explanation": "The query names it."} for tag in _phrases(text, 3)]
    return json.dumps({"tags": tags}, ensure_ascii=False)


def _tag_evol(prompt: str, request: Request) -> str:
    instruction = _section(prompt, "instruction")
    candidates = [line.partition(". ")[2] for line in _section(prompt, "candidates").splitlines()]
    budget = (request.schema or {})["properties"]["chosen"]["minItems"]
    random = Random(request.key("builtin"))
    chosen = sorted(random.sample(range(1, len(candidates) + 1), budget))
    weaves = random.sample(_WEAVES, min(budget, len(_WEAVES)))
    woven = [weaves[place % len(weaves)].format(candidates[number - 1]) for place, number in enumerate(chosen)]
    final = " ".join([instruction.rstrip(), *woven])
    plan = "Add one sentence for each of: " + ", ".join(candidates[number - 1] for number in chosen) + "."
    return json.dumps({"chosen": chosen, "plan": plan, "rewritten": final, "final": final}, ensure_ascii=False)


def _respond(prompt: str, request: Request) -> str:
    """A few plain sentences about the instruction's own key phrases."""
    instruction = _section(prompt, "instruction") or prompt
    phrases = _phrases(instruction, 8) or ["the question"]
    kind = _kinds(instruction)[0]
    random = Random(hashlib.sha256(instruction.encode("utf-8", "surrogatepass")).digest())
    lines = [f"This is an answer about {phrases[0]}, a matter of {kind}."]
    for place, phrase in enumerate(phrases[1 : random.randint(2, 7)], 1):
        lines.append(f"{place}. {phrase[:1].upper()}{phrase[1:]}: treat it on its own, then relate it to {phrases[0]}.")
    lines.append(f"In short, {' and '.join(phrases[:2])} belong together.")
    return "\n".join(lines)


_DIMENSIONS = (
    "completeness", "clarity", "accuracy", "relevance", "explainability", "practicality", "safety",
)  # fmt: skip


def _compare(prompt: str, request: Request) -> str:
    first, second = (
        _rate(_section(prompt, f"{place}_instruction"), _section(prompt, f"{place}_response"))
        for place in ("first", "second")
    )
    lead = "first" if first["score"] > second["score"] else "second"
    if first["score"] == second["score"]:
        lead = "neither"
    answer = {"analysis": f"By text statistics alone, ahead: {lead}.", "first": first, "second": second}
    return json.dumps(answer)


def _rate(instruction: str, response: str) -> dict[str, int]:
    """Scores from how the response's words relate to the instruction's; length counts only up to 60 words."""
    asked, said = set(_words(instruction)), _words(response)
    overlap = len(asked.intersection(said)) / max(1, len(asked))
    variety = len(set(said)) / max(1, len(said))
    fullness = min(1.0, len(said) / 60)
    spice = int(hashlib.sha256(f"{instruction}\0{response}".encode("utf-8", "surrogatepass")).hexdigest()[:4], 16)
    score = 20 + round(25 * overlap + 20 * variety + 20 * fullness) + spice % 10
    return {**dict.fromkeys(_DIMENSIONS, score), "score": score}


_RULES: dict[str, Callable[[str, Request], str]] = {
    "aspect_tags": _aspect_tags,
    "open_tags": _open_tags,
    "tag_evol": _tag_evol,
    "respond": _respond,
    "compare": _compare,
}


def _section(prompt: str, tag: str) -> str:
    """The text between the last opening of a tag and its closing; the row's part comes last in a prompt."""
    _, _, after = prompt.rpartition(f"<{tag}>\n")
    return after.partition(f"\n</{tag}>")[0].strip()


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text) if word.lower() not in _STOP and len(word) > 1]


def _phrases(text: str, most: int) -> list[str]:
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


def _kinds(text: str) -> list[str]:
    words = set(_WORD.findall(text.lower()))
    return [kind for keys, kind in _KINDS.items() if words.intersection(keys.split())][:2] or ["general knowledge"]


def _fallback(found: Sequence[str], text: str) -> list[Any]:
    return list(found) or [text.strip()[:20] or "empty"]
