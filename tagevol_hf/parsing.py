"""Model text → JSON value, tags. Pure functions; what cannot be read raises `ParseError`.

Reading is tolerant of form (code fences, prose around the JSON, trailing commas, typographic quotes, raw control
characters) and strict about content: no value is ever invented.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jsonschema_rs

from .errors import ParseError

_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)```", re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', re.DOTALL)
_TYPOGRAPHIC_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‟": '"'})
_MAX_STARTS = 64
_SPACE = re.compile(r"\s+")
_OPENING = re.compile(r"[{\[]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)


class JsonSchema(dict[str, Any]):
    """A JSON schema that knows its canonical text; not to be changed once it is made."""

    @functools.cached_property
    def text(self) -> str:
        """The schema as JSON with sorted keys, the same for equal schemas."""
        return json.dumps(self, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def schema_text(schema: Mapping[str, Any]) -> str:
    """Canonical JSON text of a schema; computed once where it is a `JsonSchema`."""
    return schema.text if isinstance(schema, JsonSchema) else JsonSchema(schema).text


def json_value(text: str) -> Any:
    """The JSON object or array in a reply.

    The first of these that can be read counts: the whole text; a fenced block; each of them with trailing commas
    dropped and typographic quotes as plain ones; the longest object or array inside one of these.

    Raises:
        ParseError: "empty_reply" for blank text, "not_json" where nothing can be read.
    """
    stripped = text.strip()
    if not stripped:
        raise ParseError("empty_reply")
    if stripped[0] in "{[":
        try:
            return _DECODER.decode(stripped)
        except (ValueError, RecursionError):
            pass  # not as it is; perhaps with some mending
    candidates = list(_candidates(text))
    for find in (_whole_value, _longest_value):  # a mended whole goes before a part
        for candidate in candidates:
            if (found := find(candidate)) is not None:
                return found
    raise ParseError("not_json", f"no JSON object or array in {_excerpt(text)}")


def checked_value(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value in a reply, if it matches the schema.

    Raises:
        ParseError: As `json_value`, and "wrong_schema" with the place and the fault.
    """
    return fitting(json_value(text), schema)


def fitting(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value itself, if it matches the schema.

    Raises:
        ParseError: "wrong_schema" with the place and the fault.
    """
    try:
        validator = _validator(schema_text(schema))
        if validator.is_valid(value):
            return value
        error = next(iter(validator.iter_errors(value)))
    except ValueError as unusable:  # such as a number beyond the validator's range
        raise ParseError("wrong_schema", _excerpt(str(unusable))) from None
    place = "/".join(str(part) for part in error.instance_path) or "the reply"
    raise ParseError("wrong_schema", f"{place}: {_excerpt(error.message)}")


def object_schema(title: str, properties: Mapping[str, Any]) -> JsonSchema:
    """JSON schema of an object that has exactly these properties, all of them required."""
    return JsonSchema(
        {
            "title": title,
            "type": "object",
            "properties": dict(properties),
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def clean_tag(text: str) -> str:
    """Lower-case form of a tag with plain spaces, "_" as a space (Tag-Evol's flattening), NFKC."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(folded.replace("_", " ").lower().split()).strip(".,;:\"'` ")


def has_word(tag: str) -> bool:
    """Whether a clean tag has a letter or a digit of any script, as every tag needs."""
    return any(map(str.isalnum, tag))


def unique_tags(texts: Iterator[str] | list[str]) -> list[str]:
    """Clean, non-empty, distinct tags in the order of their first occurrence; see `has_word`."""
    return list(dict.fromkeys(tag for tag in map(clean_tag, texts) if has_word(tag)))


def _candidates(text: str) -> Iterator[str]:
    yield from (stripped := [text.strip(), *(block.strip() for block in _FENCE.findall(text))])
    for candidate in stripped:
        yield _TRAILING_COMMA.sub(lambda match: match.group(1) or "", candidate.translate(_TYPOGRAPHIC_QUOTES))


def _whole_value(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return None
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _longest_value(text: str) -> Any:
    best: Any = None
    best_length, position = 0, 0
    for _ in range(_MAX_STARTS):
        match = _OPENING.search(text, position)
        if match is None:
            break
        start = match.start()
        try:
            value, position = _DECODER.raw_decode(text, start)
        except RecursionError:
            break
        except json.JSONDecodeError as fault:
            if fault.pos >= len(text) or fault.msg.startswith("Unterminated"):
                break  # cut off here; a part of it is not the answer
            position = start + 1
        except ValueError:
            position = start + 1
        else:
            if position - start > best_length:
                best, best_length = value, position - start
    return best


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    return jsonschema_rs.validator_for(json.loads(schema))


def _excerpt(text: str, length: int = 120) -> str:
    flat = _SPACE.sub(" ", text).strip()
    return repr(flat if len(flat) <= length else flat[:length] + "…")
