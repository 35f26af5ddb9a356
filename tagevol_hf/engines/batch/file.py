"""The JSON Lines files of the batch protocol: one request a line out, one answer a line in.

Vendors' batch APIs and `vllm run-batch` share them. A line is named (`custom_id`) by its request's key, so its answer
belongs to the same place of a request store whoever made it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..base import Reply, Request, failed
from ..chat_protocol import Fault, ResponseFormat, body_of, read_answer

ENDPOINT = "/v1/chat/completions"

_LOG = logging.getLogger("tagevol_hf")
_START = b'{"custom_id":"'
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# Line ends for some readers, though not for JSON; in a JSON text they stand in strings only.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_batch_file(path: str | Path, requests: Iterable[Request], model: str, identity: str) -> int:
    """Write requests as a batch input file, for example for `vllm run-batch -i PATH -o ANSWERS --model MODEL`.

    Equal requests are written once. A request that no JSON reader accepts (half a surrogate pair in its text) is left
    out with a warning, because it would end the whole run there.

    Args:
        path: The file; an old one is replaced.
        requests: What to ask.
        model: The model's name there.
        identity: `identity` of the engine whose store gets the replies.

    Returns:
        Number of lines written.
    """
    seen: set[bytes] = set()
    left_out = 0
    with Path(path).open("wb") as file:
        for request in requests:
            key = request.key(identity)
            if digest_of(key) in seen:
                continue
            seen.add(digest_of(key))
            try:
                file.write(line_of(request, key, model, "json_schema"))
            except UnicodeEncodeError:
                left_out += 1
    if left_out:
        _LOG.warning("%s: %d requests are left out: their text is not valid Unicode", path, left_out)
    return len(seen) - left_out


def read_batch_file(path: str | Path) -> Iterator[tuple[str, Reply]]:
    """The answers in a batch output or error file, by request key: put them into a store with `RequestStore.put`.

    An answer that is an error comes as a `Reply` with an error, which no store should keep. A line that is not an
    answer is left out with a warning. Of two answers to one request the store keeps the first.
    """
    broken = 0
    with Path(path).open("rb") as file:
        for line in file:
            answer = read_line(line)
            if answer is None:
                broken += bool(line.strip())
                continue
            key, outcome = answer
            yield key, outcome if isinstance(outcome, Reply) else failed("refused_request", outcome.detail)
    if broken:
        _LOG.warning("%s: %d lines are not answers to this package's requests and were left out", path, broken)


def line_of(request: Request, key: str, model: str, response_format: ResponseFormat) -> bytes:
    """One line of an input file, with its line end.

    Raises:
        UnicodeEncodeError: If the request's text holds half a surrogate pair.
    """
    body = body_of(request, model, response_format)
    return _packed({"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body})


def with_format(line: bytes, response_format: ResponseFormat) -> bytes:
    """A line of `line_of` with a weaker response format; one that asks for free text stays."""
    entry = json.loads(line)
    if "response_format" not in entry["body"] or response_format == "json_schema":
        return line
    if response_format == "json_object":
        entry["body"]["response_format"] = {"type": "json_object"}
    else:
        del entry["body"]["response_format"]
    return _packed(entry)


def has_format(line: bytes) -> bool:
    """Whether a line of `line_of` asks for JSON."""
    return b'"response_format":' in line  # inside a string its quotes would be escaped


def digest_of(key: str) -> bytes:
    """A request key in 16 bytes, which are enough to tell requests apart."""
    return bytes.fromhex(key[:32])


def digest_in(line: bytes) -> bytes:
    """`digest_of` the request of a line of `line_of`."""
    return bytes.fromhex(line[len(_START) : len(_START) + 32].decode())


def read_line(line: bytes) -> tuple[str, Reply | Fault] | None:
    """Request key and answer in one line of an output or error file; None if it is no answer to a request of ours."""
    try:
        entry = json.loads(line)
        key = str(entry["custom_id"])
        if len(bytes.fromhex(key)) != 32:
            return None
        response, error = entry.get("response"), entry.get("error")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return key, _outcome(response, error)


def _outcome(response: Any, error: Any) -> Reply | Fault:
    if not isinstance(response, dict) or not isinstance(response.get("status_code"), int):
        return _without_response(error)
    body = response.get("body")
    return read_answer(response["status_code"], json.dumps(error if body is None else body))  # vLLM: no body on errors


def _without_response(error: Any) -> Fault:
    told = error if isinstance(error, Mapping) else {"message": error}
    detail = " ".join(f"{told.get('code') or ''} {told.get('message') or ''}".split())[:300]
    if told.get("code") == "batch_expired":
        return Fault("timeout", detail)
    return Fault("retry", detail or "no answer and no error")


def _packed(entry: Mapping[str, Any]) -> bytes:
    text = _ENCODER.encode(entry)
    for character, escaped in _LINE_ENDS.items():
        text = text.replace(character, escaped)
    return f"{text}\n".encode()
