"""The built-in engine: answers this project's own prompts by rule, at once and always the same.

It is no language model. It exists to try a recipe, to plan and to test: key phrases serve as tags, chosen tags are
woven into an instruction by set phrases, text statistics serve as scores. Everything that shows its output says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..base import Reply, Request, failed
from . import answering, evolving, tagging

CONTEXT = 32_768  # tokens, of about four characters


class BuiltinEngine:
    """Rules in place of a model; deterministic, and free of the order of the requests."""

    def __init__(self) -> None:
        source = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
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


_RULES: dict[str, Callable[[str, Request], str]] = {
    "aspect_tags": tagging.aspect_tags,
    "name_aspects": tagging.name_aspects,
    "fill_aspects": tagging.fill_aspects,
    "open_tags": tagging.open_tags,
    "tag_evol": evolving.tag_evol,
    "tag_evol_from_scratch": evolving.tag_evol_from_scratch,
    "tag_evol_given": evolving.tag_evol_given,
    "review": evolving.review,
    "evol_instruct": evolving.evol_instruct,
    "evol_equality": evolving.evol_equality,
    "auto_evol": evolving.auto_evol,
    "trajectory_analysis": evolving.trajectory_analysis,
    "method_optimization": evolving.method_optimization,
    "respond": answering.respond,
    "compare": answering.compare,
    "single_score": answering.single_score,
    "grade": answering.grade,
    "complexity": answering.rating,
    "quality": answering.rating,
    "refine_response": answering.refine_response,
    "refine_instruction": answering.refine_instruction,
}
