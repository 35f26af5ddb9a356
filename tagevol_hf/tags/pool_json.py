"""A tag pool as JSON, one tag a line.

    {"format": 2,
     "rows": {"math": ["gsm8k/1", "gsm8k/2"], "old": [""]},
     "tags": [
      {"tag": "prime numbers", "count": 9, "aspects": {"topic": 9}, "sources": {"math": 2, "old": 7},
       "seeds": {"topic": [0, 1, [2, 7]]}}]}

`rows` are the seed rows by source, counted through from 0; an id "" stands for all rows of a source that have none.
`seeds` says which of them have the tag under an aspect; [2, 7] are 7 rows without ids. Format 1 had neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import DataError
from .pool_table import Gathering, Seed, Table

_FORMAT = 2
_MOST = 2**31 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
_write = json.JSONEncoder(ensure_ascii=False).encode


def pool_json(table: Table) -> str:
    """The text of a pool; equal tables give equal texts."""
    rows: dict[str, list[str]] = {}
    for source, row_id in table.seeds:
        rows.setdefault(source, []).append(row_id)
    tags = ",\n".join(map(_write, _entries(table)))
    text = f'{{"format": {_FORMAT},\n"rows": {_write(rows)},\n"tags": [\n{tags}\n]}}\n'
    return _SURROGATE.sub(lambda half: f"\\u{ord(half.group()):04x}", text)  # UTF-8 has no lone surrogates


def table_from_json(data: bytes) -> Table:
    """The pool in a file's bytes.

    Raises:
        DataError: If they are none; the message does not name the file.
    """
    body = _read(data)
    found, place = Gathering(), "rows"
    try:
        seeds = [(source, _name(row_id)) for source, ids in body.get("rows", {}).items() for row_id in ids]
        for number, entry in enumerate(body["tags"]):
            place = f"tags[{number}]"
            _gather(found, entry, seeds) if body["format"] == _FORMAT else _gather_counts(found, entry)
    except (LookupError, TypeError, AttributeError, ValueError) as fault:
        raise DataError(f"not a tag pool ({place}: {fault!r}); make it again") from None
    return found.table()


def _entries(table: Table) -> Iterator[dict[str, Any]]:
    aspects, sources = table.by_aspect(), table.by_source()
    starts = np.searchsorted(table.cells[0], np.arange(len(table.tags) + 1)).tolist()
    for place, tag in enumerate(table.tags):
        yield {
            "tag": tag,
            "count": sources.total(place),
            "aspects": aspects.of(place),
            "sources": sources.of(place),
            "seeds": _seeds(table, starts[place], starts[place + 1]),
        }


def _seeds(table: Table, first: int, last: int) -> dict[str, list[Any]]:
    """Aspect → the numbers of the seed rows, in a part of the cells."""
    found: dict[str, list[Any]] = {}
    for aspect, seed, rows in table.cells[1:, first:last].T.tolist():
        has_id = bool(table.seeds[seed][1])
        found.setdefault(table.aspects[aspect], []).append(seed if has_id else [seed, rows])
    return found


def _read(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise DataError(f"not a tag pool (no valid JSON: {' '.join(str(fault).split())[:120]}); a half-written file? "
                        "Make it again") from None  # fmt: skip
    if not isinstance(body, dict) or "format" not in body or not isinstance(body.get("tags"), list):
        raise DataError('not a tag pool (expected a JSON object with "format" and a list "tags")')
    if body["format"] not in (1, _FORMAT):
        raise DataError(f"tag pool of format {str(body['format'])[:20]}, expected 1 or {_FORMAT}; make it again")
    if not body["tags"]:
        raise DataError("the tag pool has no tag; make it from rows that have tags")
    return body


def _gather(found: Gathering, entry: Mapping[str, Any], seeds: list[Seed]) -> None:
    tag = _name(entry["tag"])
    for aspect, places in entry["seeds"].items():
        for place in places:
            seed, rows = place if isinstance(place, list) else (place, 1)
            found.add(tag, aspect, seeds[_whole(seed, 0)], _whole(rows, 1))


def _gather_counts(found: Gathering, entry: Mapping[str, Any]) -> None:
    for aspect, rows in entry["aspects"].items():
        found.add(_name(entry["tag"]), aspect, ("", ""), _whole(rows, 1))


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.40}")
    return value


def _whole(value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= _MOST:
        raise ValueError(f"expected a whole number from {least}, got {value!r:.40}")
    return value
