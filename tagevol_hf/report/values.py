"""Tolerant reading: a value of another type than expected counts as missing, never as an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any


def number_of(value: Any) -> float | None:
    """A finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return value


def whole_of(value: Any) -> int:
    """The number, rounded; 0 for what is none."""
    number = number_of(value)
    return 0 if number is None else round(number)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """The object; empty for what is none."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: Any) -> list[Any]:
    """The list; empty for what is none."""
    return value if isinstance(value, list) else []


def counts_of(value: Any) -> tuple[tuple[str, int], ...]:
    """(name, count) pairs of an object, largest first, without zeros."""
    pairs = ((str(name), whole_of(number)) for name, number in mapping_of(value).items())
    return tuple(sorted((pair for pair in pairs if pair[1]), key=lambda pair: (-pair[1], pair[0])))


def read_text(file: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_json(file: Path) -> Mapping[str, Any]:
    """The object in a JSON file; empty where there is none, or where it was cut off while being written."""
    try:
        return mapping_of(json.loads(read_text(file)))
    except ValueError:
        return {}
