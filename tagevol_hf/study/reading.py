"""What a comparison reads from a run folder besides its account."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset, concatenate_datasets, load_from_disk

from ..measure import Measures, measure


def recipe_of(folder: Path) -> dict[str, Any]:
    """The recipe as plain values; empty where it cannot be read."""
    try:
        body = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return body if isinstance(body, dict) else {}


def seeds_of(folder: Path) -> dict[str, Any]:
    """Number and digest of the rows that came in, whatever their order."""
    loaded = next(iter(sorted((folder / "steps").glob("01-*"))), None)
    rows = _open(loaded) if loaded else None
    if rows is None:
        return {}
    marks = sorted(
        hashlib.sha256(f"{row_id}\0{text}".encode("utf-8", "surrogatepass")).digest()
        for part in rows.select_columns(["id", "instruction"]).iter(batch_size=10_000)
        for row_id, text in zip(part["id"], part["instruction"], strict=True)
    )
    return {"rows": len(rows), "digest": hashlib.sha256(b"".join(marks)).hexdigest()[:12]}


def measures_of(folder: Path) -> Measures:
    """What the run measured; of a run without the step `measure`, what can be said without asking."""
    if (folder / "measures.json").exists():
        return Measures.load(folder / "measures.json")
    parts = [rows for name in ("selected", "not_chosen") if (rows := _open(folder / name)) is not None and len(rows)]
    if not parts:
        return Measures({}, 0, {}, ("Nothing could be measured: no accepted row was found.",))
    return measure(parts[0] if len(parts) == 1 else concatenate_datasets(parts), sample=0)


def lost_of(folder: Path) -> dict[str, int]:
    """The reasons of a run that did not end, whose account was not drawn up."""
    lost = folder / "rejected"
    if not lost.exists() or lost.stat().st_mtime_ns < (folder / "recipe.yaml").stat().st_mtime_ns:
        return {}  # of the run before
    rows = _open(lost)
    counts: dict[str, int] = {}
    for mark in rows["rejection"] if rows is not None else ():
        counts[mark["reason"]] = counts.get(mark["reason"], 0) + 1
    return dict(sorted(counts.items()))


def _open(folder: Path) -> Dataset | None:
    try:
        return load_from_disk(str(folder))
    except (OSError, ValueError):
        return None
