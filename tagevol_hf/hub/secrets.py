"""Nothing that is published gives away a key, a password or a place on the user's machine.

What tells where a row comes from (ids, sources, the details of a rejection) is rewritten; a text with a key in it is
never changed in silence: the push ends with its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import DataError
from ..homes import COMMON_NAMES, user_name
from ..training.card_text import scrub

_NAME = re.compile(r"(?i)(?:key|token|secret|password|passwd)s?$")
_LOGIN = re.compile(r"://[^\s/@:]*:([^\s/@]+)@")
_LEAST = 8  # characters; shorter ones stand in texts by chance
_LIKE_A_KEY = re.compile(r"(?=[^\s/]*\d|[^\s/]{16})[^\s/]\S*")  # no word, no path
_ABOUT = re.compile(r"id|\w+_id|source|rejection")  # columns that say where a row comes from, not what it says


@dataclass(frozen=True)
class Secrets:
    """What must not be published.

    Attributes:
        forbidden: What no file may hold → what it is, in words.
        places: What stands in columns about a row's origin → what is published in its stead.
    """

    forbidden: Mapping[str, str]
    places: Mapping[str, str]

    def clean(self, table: pa.Table) -> pa.Table:
        """The rows with no key and no place in the columns that say where a row comes from."""
        stead = {**self.places, **{text: "…" for text in self.forbidden if text not in self.places}}
        for number, name in enumerate(table.column_names):
            if _ABOUT.fullmatch(name) and any(_may_hold(table.column(name), text) for text in stead):
                column = pa.chunked_array([_replaced(chunk, stead) for chunk in table.column(name).chunks])
                table = table.set_column(number, table.schema.field(name), column)
        return table

    def check(self, config: str, first: int, table: pa.Table) -> None:
        """Look for what is forbidden in every cell; `first` is the number of the table's first row.

        Raises:
            DataError: If there is some; the message names the row and the column, not the key.
        """
        for text, what in self.forbidden.items():
            for name in table.column_names:
                place = _row_with(table.column(name), text)
                if place is not None:
                    shown = str(table.column("id")[place]) if "id" in table.column_names else "none"
                    raise DataError(
                        f"{config}: row {first + place} (id {shown}): column {name} holds {what}; nothing was pushed; "
                        "take it out of the source data and run the recipe again"
                    )

    def check_text(self, name: str, text: str) -> None:
        """The same for a file of text.

        Raises:
            DataError: If there is some.
        """
        for secret, what in self.forbidden.items():
            if _holds(text, secret):
                raise DataError(f"{name}: holds {what}; nothing was pushed; take it out and push again")


def secrets_of(recipe_text: str, recipe: Mapping[str, Any], token: str | None = None) -> Secrets:
    """The keys in the environment, in `token` and in a recipe's addresses, and the places that the recipe names.

    Args:
        recipe_text: Of recipe.yaml.
        recipe: What it holds.
        token: That of the Hub.
    """
    keys = {
        value: f"the value of {name}"
        for name, value in os.environ.items()
        if _NAME.search(name) and _LIKE_A_KEY.fullmatch(value)
    }
    for found in _LOGIN.findall(recipe_text):
        keys |= dict.fromkeys((found, unquote(found)), "the password of an engine's address")
    if token:
        keys[token] = "the Hub's token"
    homes = dict.fromkeys(_homes(), "~")
    sources = {source: str(published(source)) for source in _sources(recipe) if Path(source).is_absolute()}
    forbidden = {key: what for key, what in keys.items() if len(key) >= _LEAST}
    return Secrets(
        {**forbidden, **dict.fromkeys(homes, "the path of your home folder")},
        dict(sorted({**homes, **sources}.items(), key=lambda item: -len(item[0]))),
    )


def published(value: Any) -> Any:
    """A value of a record without keys, passwords and places on this machine."""
    return scrub(value)


def _replaced(chunk: pa.Array, stead: Mapping[str, str]) -> pa.Array:
    if pa.types.is_struct(chunk.type):
        names = [field.name for field in chunk.type]
        parts = [_replaced(part, stead) for part in chunk.flatten()]
        return pa.StructArray.from_arrays(parts, names=names, mask=pc.is_null(chunk))
    if pa.types.is_string(chunk.type):
        for text, other in stead.items():
            chunk = pc.replace_substring(chunk, pattern=text, replacement=other)
    return chunk


def _may_hold(column: pa.ChunkedArray, text: str) -> bool:
    """Whether the bytes behind a column, perhaps of rows beside it, hold a text."""
    needle = text.encode()
    buffers = [buffer for chunk in column.chunks for buffer in chunk.buffers() if buffer is not None]
    return any(buffer.to_pybytes().find(needle) >= 0 for buffer in buffers if buffer.size >= len(needle))


def _row_with(column: pa.ChunkedArray, text: str) -> int | None:
    if not _may_hold(column, text):
        return None
    values = column.to_pylist()
    return next((place for place, value in enumerate(values) if _holds(_flat(value), text)), None)


def _holds(text: str, secret: str) -> bool:
    """Whether the secret stands there, and not as the beginning of a longer name."""
    start = text.find(secret)
    while start >= 0:
        rest = text[start + len(secret) :][:1]
        if not (secret.startswith("/") and (rest.isalnum() or rest in {"_", "-"})):
            return True
        start = text.find(secret, start + 1)
    return False


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(map(_flat, value.values()))
    return "\n".join(map(_flat, value)) if isinstance(value, list) else str(value)


def _homes() -> list[str]:
    """The home folder, unless its name tells nothing (as /root), and where the user's would be elsewhere."""
    home, user = Path.home(), user_name()
    named = [str(home)] if len(home.parts) > 2 and home.name not in COMMON_NAMES else []
    return list(dict.fromkeys([*named, *(f"/{folder}/{user}" for folder in ("home", "Users") if user)]))


def _sources(recipe: Mapping[str, Any]) -> Iterator[str]:
    data = recipe.get("data") or {}
    for part in (data, *(data.get("also") or ())):
        if isinstance(part.get("source"), str):
            yield part["source"]
