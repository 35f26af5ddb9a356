"""The measured figures as a value that can be saved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError

_FORMAT = 1
ALL = "all"


@dataclass(frozen=True)
class Measures:
    """Figures of a set of instructions and of its groups.

    Attributes:
        groups: "all" first, then such as "budget 1" → figure → value; a figure that cannot be computed is absent.
        rows: Instructions that were measured.
        definitions: Figure → what it is, in one line, with its source.
        notes: What a reader must know besides: what was left out, and why.
        hits: Overlaps with test sets, {id, reference, number, words}; the first 1,000.
    """

    groups: Mapping[str, Mapping[str, float]]
    rows: int
    definitions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    hits: tuple[Mapping[str, Any], ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """The same as plain values of JSON."""
        body = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        groups = {name: dict(figures) for name, figures in self.groups.items()}
        definitions = dict(self.definitions)
        return {**body, "groups": groups, "definitions": definitions, "notes": list(self.notes),
                "hits": [dict(hit) for hit in self.hits]}  # fmt: skip

    def summary(self) -> dict[str, float]:
        """The figures of all rows together."""
        return dict(self.groups[ALL])

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        text = json.dumps({"format": _FORMAT, **self.plain()}, ensure_ascii=False, indent=1)
        Path(path).write_text(text, encoding="utf-8", errors="surrogatepass")

    @classmethod
    def load(cls, path: str | Path) -> Measures:
        """Read what `save` wrote.

        Raises:
            DataError: If the file cannot be read or holds no measures.
        """
        try:
            body: Any = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogatepass"))
            if body["format"] != _FORMAT:
                raise DataError(f"{path}: measures of format {body['format']}, expected {_FORMAT}; measure again")
            notes, hits = tuple(body["notes"]), tuple(body["hits"])
            return cls(dict(body["groups"]), int(body["rows"]), dict(body["definitions"]), notes, hits)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise DataError(f"{path}: not a file of measures ({fault!r})") from None
