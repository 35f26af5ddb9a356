"""Whether a run folder holds together: its counts, its saved rows, its recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..errors import DataError
from ..run_folder import read_run
from ..sources import open_saved
from .cells import digests_of
from .configs import step_folders
from .layout import RECIPE
from .provenance import read_recipe, recipe_digest

_PARTS = ("selected", "not_chosen", "rejected")


def run_faults(run: Path) -> list[str]:
    """What is wrong with a run folder, each with its place; empty if it holds together.

    Raises:
        DataError: If it is no run folder, or its run.json cannot be read.
    """
    record = read_run(run)
    if record.get("status") != "complete":
        return [f"run.json: the run is not finished (status {record.get('status')!r}); run the same recipe again"]
    found = [*_recipe(run, record), *_steps(record)]
    try:
        rows = {name: _saved(run, name) for name in _PARTS}
        found += [*_counts(record["totals"], rows), *_ids(rows), *_saved_steps(run, record, rows["selected"])]
    except DataError as fault:
        found.append(str(fault))
    return found


def _saved(run: Path, name: str) -> Dataset:
    rows = open_saved(run / name)
    if not isinstance(rows, Dataset):
        raise DataError(f"{name}: expected one data set, got the splits {', '.join(rows)}")
    return rows


def _recipe(run: Path, record: Mapping[str, Any]) -> Iterator[str]:
    try:
        digest = recipe_digest(read_recipe(run / RECIPE)[1])
    except DataError as fault:
        yield str(fault)
        return
    if digest != record.get("digest"):
        yield f"{RECIPE}: digest {digest}, run.json has {record.get('digest')}; it was edited after the run"


def _steps(record: Mapping[str, Any]) -> Iterator[str]:
    before = None
    for step in record["steps"]:
        place = f"run.json: step {step['number']} {step['name']}"
        rejected = sum(step["rejected"].values())
        if step["rows_in"] + step["added"] != step["rows_out"] + step["not_chosen"] + rejected:
            yield (
                f"{place}: {step['rows_in']} rows in + {step['added']} added is not {step['rows_out']} out + "
                f"{step['not_chosen']} not chosen + {rejected} rejected"
            )
        if before is not None and step["rows_in"] != before:
            yield f"{place}: {step['rows_in']} rows in, the step before left {before}"
        before = step["rows_out"]


def _counts(totals: Mapping[str, Any], rows: Mapping[str, Dataset]) -> Iterator[str]:
    recorded = {**totals, "rejected": sum(totals["rejected"].values())}
    for name in _PARTS:
        if len(rows[name]) != recorded[name]:
            yield f"{name}: {len(rows[name])} rows, run.json has {recorded[name]}"
    reasons = Counter(mark["reason"] if mark else "none" for mark in rows["rejected"]["rejection"])
    for reason in sorted({*reasons, *totals["rejected"]}):
        if reasons[reason] != totals["rejected"].get(reason, 0):
            yield f"rejected: {reasons[reason]} rows for {reason}, run.json has {totals['rejected'].get(reason, 0)}"
    left = sum(len(part) for part in rows.values())
    if totals["read"] + totals["added"] != left:
        yield f"rows: {totals['read']} read + {totals['added']} added, but {left} in {' + '.join(_PARTS)}"


def _ids(rows: Mapping[str, Dataset]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name in ("selected", "not_chosen"):
        for place, row_id in enumerate(rows[name]["id"]):
            if row_id in seen:
                yield f"{name}: row {place} (id {row_id}): is {seen[row_id]} as well"
            seen[row_id] = f"row {place} of {name}"


def _saved_steps(run: Path, record: Mapping[str, Any], selected: Dataset) -> Iterator[str]:
    """The rows that a step saved are as many as it recorded; the last ones are those that were selected."""
    recorded = {f"{step['number']:02d}-{step['name']}": step["rows_out"] for step in record["steps"]}
    last = None
    for folder in step_folders(run):
        rows = _saved(folder.parent, folder.name)
        if len(rows) != recorded.get(folder.name):
            yield f"steps/{folder.name}: {len(rows)} rows, run.json has {recorded.get(folder.name)}"
        last = folder, rows
    if last is not None and len(last[1]) == len(selected):
        yield from _differing(last[0], last[1], selected)


def _differing(folder: Path, made: Dataset, selected: Dataset) -> Iterator[str]:
    columns = selected.column_names
    pairs = zip(_digests(made, columns), _digests(selected, columns), strict=True)
    for place, (before, after) in enumerate(pairs):
        if before.row != after.row:
            names = ", ".join(before.differing(after, columns))
            yield f"selected: row {place} (id {after.key}): column {names} differs from steps/{folder.name}"


def _digests(rows: Dataset, columns: list[str]) -> Iterator[Any]:
    for table in rows.select_columns(columns).with_format("arrow").iter(batch_size=500):
        yield from digests_of(table)
