"""What the benchmarks' server answers: pure functions of a request's body."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

MARK = b"[row "  # stands before the seven digits of a row's number in its text, and ends with "]"
_MARK_END = len(MARK) + 8
_SYLLABLES = ("ba", "con", "der", "fin", "gel", "hus", "im", "jo", "kal", "lem", "mor", "nes", "ot", "pra", "ri", "sun")
WORDS = [first + second for first in _SYLLABLES for second in _SYLLABLES]


def subject(body: bytes) -> bytes:
    """The row that a request asks about: the last mark in it."""
    start = body.rfind(MARK)
    return body[start : start + _MARK_END]


def words(seed: bytes, characters: int) -> str:
    """Text of so many characters that compresses about as well as prose; the same for the same seed."""
    found, count = [], 0
    while count < characters:
        seed = blake2b(seed).digest()
        found.append(" ".join([WORDS[number] for number in seed]))
        count += len(found[-1]) + 1
    return " ".join(found)[:characters]


def tags_of(mark: bytes, count: int = 3) -> list[str]:
    """Tags of a row, by its mark: distinct, in lower case."""
    digest = blake2b(mark, digest_size=8).digest()
    return [f"{WORDS[digest[number]]} {number}" for number in range(count)]


def reply_to(body: bytes, tags: int = 3, length: int = 40) -> str:
    """The JSON text that answers a request: so many tags, with explanations of so many characters."""
    mark = subject(body)
    text = words(mark, length * tags)
    parts = [
        f'{{"tag": "{tag}", "explanation": "{text[number * length : (number + 1) * length]}"}}'
        for number, tag in enumerate(tags_of(mark, tags))
    ]
    return f'{{"tags": [{", ".join(parts)}]}}'


def share_of(mark: bytes) -> float:
    """A number in [0, 1) that follows from a row's mark; those below `Settings.poison` are poisoned."""
    return int.from_bytes(blake2b(mark, digest_size=4).digest(), "big") / 2**32


def completion(body: bytes, text: str) -> bytes:
    """A chat completion with this text, as an HTTP answer."""
    asked, said = len(body) // 4, len(text) // 4
    usage = f'"prompt_tokens": {asked}, "completion_tokens": {said}, "total_tokens": {asked + said}'
    message = _message(body, text)
    return http(
        200,
        (
            '{"id": "chatcmpl-0", "object": "chat.completion", "created": 1700000000, "model": "bench", "choices": '
            f'[{{"index": 0, "message": {message}}}], "usage": {{{usage}}}}}'
        ).encode(),
    )


def _message(body: bytes, text: str) -> str:
    """The text as the message's content, or as a tool's arguments where the request forces a tool; with its finish."""
    quoted = text.replace('"', '\\"')
    if b'"tool_choice"' not in body:
        return f'{{"role": "assistant", "content": "{quoted}"}}, "finish_reason": "stop"'
    name = json.loads(body)["tools"][0]["function"]["name"]
    call = f'{{"id": "call-0", "type": "function", "function": {{"name": "{name}", "arguments": "{quoted}"}}}}'
    return f'{{"role": "assistant", "content": null, "tool_calls": [{call}]}}, "finish_reason": "tool_calls"'


def schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema that a request sends as its response format or as its tool; else one of a text."""
    if "tools" in body:
        return dict(body["tools"][0]["function"]["parameters"])
    given = body.get("response_format") or {}
    return dict(given["json_schema"]["schema"]) if "json_schema" in given else {"type": "string"}


def smallest(schema: dict[str, Any]) -> object:
    """A value of a plain schema."""
    if schema.get("type") == "object":
        return {name: smallest(part) for name, part in schema["properties"].items()}
    return {"integer": 1, "number": 1.0, "boolean": True, "array": []}.get(schema.get("type", ""), "ok")


def http(status: int, body: bytes, extra: bytes = b"") -> bytes:
    """An HTTP answer with a JSON body; `extra` are header lines."""
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, len(body), extra) + body


def digest(body: bytes) -> str:
    """What tells one request from another."""
    return blake2b(body, digest_size=8).hexdigest()
