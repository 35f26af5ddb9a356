"""The OpenAI chat completions protocol: what is sent, and what a server's answer means. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from ..parsing import schema_text
from .base import FinishReason, Reply, Request, Schema, failed

ResponseFormat = Literal["json_schema", "json_object", "none"]
WEAKER: dict[ResponseFormat, ResponseFormat] = {"json_schema": "json_object", "json_object": "none"}

# Faults of the way or of the moment: the same request may well succeed later.
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)
_FATAL = (401, 402, 403, 404, 405)
_BUSY = (429, 503, 529)
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum (input|model|prompt) length|max_model_len|prompt is too long|"
    r"too many (input )?tokens|longer than the maximum",
    re.IGNORECASE,
)
_FORMAT = re.compile(r"response_format|json_schema|json_object|structured.output|guided|grammar", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt gave no reply.

    Attributes:
        kind: "retry" (ask again), "busy" (ask again, and ask less at once), "timeout" (no answer in time; the
            same), "unreachable" (no connection), "format" (the server does not know this response format), "fatal"
            (nothing will be answered: wrong key, wrong model).
        detail: The server's message in one line.
        wait: Seconds that the server asked to wait, 0 where it did not.
    """

    kind: Literal["retry", "busy", "timeout", "unreachable", "format", "fatal"]
    detail: str
    wait: float = 0.0


def body_of(request: Request, model: str, response_format: ResponseFormat) -> dict[str, Any]:
    """The JSON body that asks for one chat completion."""
    asked = json.loads(_format_text(request.schema, response_format))
    return {**_question(request, model), **({"response_format": asked} if asked else {})}


def encoded_body(request: Request, model: str, response_format: ResponseFormat) -> bytes:
    """`body_of` as JSON; the schema's text is made once, not once a request."""
    question = json.dumps(_question(request, model))
    asked = _format_text(request.schema, response_format)
    return (question if asked == "null" else f'{question[:-1]}, "response_format": {asked}}}').encode()


def _question(request: Request, model: str) -> dict[str, Any]:
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    return body


def _format_text(schema: Schema | None, response_format: ResponseFormat) -> str:
    """The response format as JSON; "null" for free text."""
    if schema is None or response_format == "none":
        return "null"
    if response_format == "json_object":
        return '{"type": "json_object"}'
    text = schema_text(schema)
    return f'{{"type": "json_schema", "json_schema": {{"name": "reply", "schema": {text}, "strict": true}}}}'


def read_answer(status: int, text: str, retry_after: str | None = None) -> Reply | Fault:
    """What an HTTP answer means for the request."""
    if status == 200:
        return _read_completion(text)
    detail = f"HTTP {status}: {_message(text)}"
    if status in _FATAL or "insufficient_quota" in text:
        return Fault("fatal", detail)
    if status in _TRANSIENT:
        return Fault("busy" if status in _BUSY else "retry", detail, _seconds(retry_after))
    if _TOO_LONG.search(detail):
        return failed("prompt_too_long", detail)
    if _FORMAT.search(detail):
        return Fault("format", detail)
    return failed("refused_request", detail)


def _read_completion(text: str) -> Reply | Fault:
    try:
        answer = json.loads(text)
        choice = answer["choices"][0]
        content = choice["message"].get("content") or ""
        reason = choice.get("finish_reason")
        usage = answer.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        if not isinstance(content, str):
            return Fault("retry", f"the message's content is not text: {_message(text)}")
        if reason == "content_filter":
            return failed("refused_request", "the server's content filter held the reply back")
        if reason in ("abort", "error"):
            return Fault("retry", f"the server ended the request: {reason}")
        finish: FinishReason = "length" if reason == "length" else "stop"
        return Reply(content, finish, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, cached or 0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return Fault("retry", f"the answer is not a chat completion: {_message(text)}")


def _message(text: str) -> str:
    """The message in an error body, in one line of at most 300 characters."""
    found: Any = text
    try:
        found = json.loads(text)
        while isinstance(found, dict):
            found = next(found[key] for key in ("error", "message", "detail") if found.get(key))
    except (ValueError, StopIteration):
        found = text if isinstance(found, dict) else found
    return " ".join(str(found).split())[:300] or "no message"


def _seconds(retry_after: str | None) -> float:
    """A `Retry-After` header (seconds, or a date) as seconds in [0, 300]."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(timezone.utc)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), 300.0)
