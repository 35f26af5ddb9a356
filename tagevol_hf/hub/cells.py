"""Digests of rows and cells, so that a changed cell can be named.

A cell's digest is the SHA-256 of its column's name and its value as JSON; a row's that of its cells' digests; a
config's that of its rows' digests, in order. They depend on no file format and on no version of a library.

digests/<config>.txt   the columns as a JSON list, then a line a row: 32 hex digits of the row, 4 of each cell, its key
                       as JSON
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import DataError

_ROW, _CELL = 32, 4  # hex digits that are written down


@dataclass(frozen=True, slots=True)
class RowDigest:
    """Of one row.

    Attributes:
        key: Its id; its first column's value where it has none.
        row: 32 hex digits.
        cells: 4 hex digits a column, one after another.
    """

    key: str
    row: str
    cells: str

    def differing(self, other: RowDigest, columns: Sequence[str]) -> list[str]:
        """The columns whose digests are not the same."""
        pairs = zip(self._parts(), other._parts(), columns, strict=False)
        return [column for mine, theirs, column in pairs if mine != theirs]

    def line(self) -> str:
        """As it is written down."""
        return f"{self.row} {self.cells} {json.dumps(self.key, ensure_ascii=False)}\n"

    def _parts(self) -> list[str]:
        return [self.cells[start : start + _CELL] for start in range(0, len(self.cells), _CELL)]


def digests_of(table: pa.Table) -> Iterator[RowDigest]:
    """The digests of a table's rows, in order."""
    names = table.column_names
    if not names:
        return
    columns = [_cells(name, table.column(name).to_pylist()) for name in names]
    keys = table.column("id" if "id" in names else names[0]).to_pylist()
    for key, *cells in zip(keys, *columns, strict=True):
        row = hashlib.sha256(b"".join(cells)).hexdigest()[:_ROW]
        yield RowDigest(str(key), row, "".join(cell.hex()[:_CELL] for cell in cells))


def content_digest(rows: Iterable[RowDigest]) -> str:
    """Of a config's rows, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(bytes.fromhex(row.row))
    return digest.hexdigest()


def write_digests(path: Path, columns: Sequence[str], rows: Iterable[RowDigest], before: Path | None = None) -> None:
    """Write the file; `before` is one whose rows come first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(list(columns), ensure_ascii=False) + "\n")
        if before is not None:
            with before.open(encoding="utf-8", newline="\n") as old:
                next(old)
                file.writelines(old)
        file.writelines(row.line() for row in rows)


def read_digests(path: Path) -> tuple[list[str], list[RowDigest]]:
    """The columns and the rows' digests.

    Raises:
        DataError: If the file is not as `write_digests` leaves it.
    """
    try:
        head, *lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return json.loads(head), [_read_line(line) for line in lines]
    except (OSError, ValueError) as fault:
        raise DataError(f"{path.name}: cannot be read ({fault})") from None


def _read_line(line: str) -> RowDigest:
    row, cells, key = line.split(" ", 2)
    return RowDigest(json.loads(key), row, cells)


def _cells(name: str, values: list[Any]) -> list[bytes]:
    head = name.encode()
    return [hashlib.sha256(head + b"\0" + _written(value)).digest() for value in values]


def _written(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_other)
    return text.encode("utf-8", "surrogatepass")


def _other(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
