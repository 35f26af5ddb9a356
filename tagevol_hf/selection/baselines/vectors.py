"""Rows as unit vectors, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from ...errors import DataError
from ...rows import Row
from ...tags.embed import Embedder, Vectors, open_embedder
from ...tags.taggers import text_of

TextOf = Literal["instruction", "row"]
CHUNK = 1000  # rows embedded at once


def whole_text(row: Row) -> str:
    """What the user says, and the response."""
    return f"{text_of(row)}\n\n{row['response'] or ''}"


TEXTS: Mapping[TextOf, Callable[[Row], str]] = MappingProxyType({"instruction": text_of, "row": whole_text})
READS = ("input", "history")


def texts_of(of: TextOf) -> dict[str, str]:
    """Columns that the texts are made of, with what writes them.

    Raises:
        DataError: If `of` is unknown.
    """
    if of not in TEXTS:
        raise DataError(f"of: expected {' or '.join(TEXTS)}, got {of!r}")
    return dict.fromkeys(("instruction", "response") if of == "row" else ("instruction",), "prepare")


def opened(embedder: str | Embedder) -> Embedder:
    """The embedder itself, or the one that `open_embedder` finds by its name."""
    return open_embedder(embedder) if isinstance(embedder, str) else embedder


def encode_rows(rows: Sequence[Row], of: TextOf, embedder: Embedder) -> Vectors:
    """One unit vector a row, float32, shape (rows, d)."""
    text = TEXTS[of]
    parts = [
        embedder.encode([text(row) for row in rows[start : start + CHUNK]]) for start in range(0, len(rows), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)
