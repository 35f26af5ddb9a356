"""Run folder and id → story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..report.values import list_of, mapping_of, read_json
from ..report.words import printable
from ..rows import REASONS
from .comparisons import meetings_of
from .folder import Folder, Row, all_with, find
from .standing import clusters_of, standing_of
from .values import Child, Part, Story, Tag

_NOT_TOLD = ("id", "rejection", "seed_id")
_MADE_BY = ("budget", "round", "operator")


def read_story(run: Path, row_id: str) -> Story:
    """Everything that a run folder, finished or not, says of one row.

    Args:
        run: The run folder.
        row_id: Id of a row, or of a seed.

    Raises:
        DataError: If this is no run folder, or no saved row has the id; the nearest ids are told.
    """
    folder = Folder(run)
    row = _latest(folder, row_id)
    if row is None:
        raise DataError(_unknown(folder, row_id))
    seed_id = str(row.get("seed_id") or "")
    children = tuple(_children(folder, row_id)) if not seed_id else ()
    fate = _fate(folder, row_id, bool(children))
    return Story(
        id=row_id,
        run=str(run),
        status=str(folder.record.get("status") or ""),
        fate=fate,
        why=_why(folder, row, fate, len(children)),
        seed_id=seed_id,
        parts=tuple(_parts(folder, row_id, seed_id)),
        tags=_tags(folder, row),
        clusters=_clusters(folder, row),
        comparisons=meetings_of(folder, row_id),
        rejection=row.get("rejection"),
        children=children,
    )


def _latest(folder: Folder, row_id: str) -> dict[str, Any] | None:
    """The row as it is at the end of its way."""
    places = (*reversed(tuple(folder.piles.values())), *(saved.rows for saved in reversed(folder.steps)))
    return next((row for rows in places if (row := find(rows, row_id)) is not None), None)


def _unknown(folder: Folder, row_id: str) -> str:
    near, some = (", ".join(map(printable, ids)) for ids in (folder.nearest(row_id), folder.some_ids()))
    asked = f"{folder.path}: no saved row has the id {printable(row_id)!r}"
    if not folder.steps and not folder.piles:
        return f"{asked}: the run has saved no rows yet; run it to its end"
    later = "" if folder.complete else "; the run is not at its end, where rejected rows are saved"
    return f"{asked}; {f'the nearest are {near}' if near else f'no id is like it; some that are there: {some}'}{later}"


def _fate(folder: Folder, row_id: str, has_children: bool) -> str:
    for name, rows in folder.piles.items():
        if find(rows, row_id) is not None:
            return name.replace("_", " ")
    if has_children:
        return "evolved"
    here = folder.steps and find(folder.steps[-1].rows, row_id) is not None
    return "on its way" if here and not folder.complete else "gone"


def _why(folder: Folder, row: Row, fate: str, children: int) -> str:
    if fate == "selected":
        return str(row.get("why") or "no step chose between the rows: all that were not rejected are in the set")
    if fate == "not chosen":
        return standing_of(folder, row)
    if fate == "rejected":
        mark = row["rejection"]
        return f"{mark['reason']}: {REASONS.get(mark['reason'], 'an unknown reason')}"
    if fate == "evolved":
        return f"{children:,} rows were made of it, and took its place"
    last = [saved for saved in folder.steps if find(saved.rows, row["id"]) is not None]
    after = f"after step {last[-1].number} {last[-1].name}" if last else "at the start"
    if fate == "on its way":
        return f"last seen {after}; {_end(folder.record)}"
    return f"it left {after}; why is saved at the end of a run, and {_end(folder.record)}"


def _end(record: Mapping[str, Any]) -> str:
    """How far an unfinished run is."""
    if record.get("stopped_by"):
        return f"the run stopped: {str(record['stopped_by']).split(';')[0]}"
    return "the run goes on, or was ended from outside"


def _parts(folder: Folder, row_id: str, seed_id: str) -> Iterator[Part]:
    """What each step did with the seed, then with the row."""
    before: Row = {}
    seen = 0
    for one in dict.fromkeys(filter(None, (seed_id, row_id))):
        for saved in folder.steps:
            if (row := find(saved.rows, one)) is not None:
                yield Part(saved.number, saved.name, one, _changes(before, row))
                before, seen = row, saved.number
    lost = find(folder.piles.get("rejected"), row_id)
    if lost is not None:
        number, step = _where(folder.record, lost["rejection"], seen)
        yield Part(number, step, row_id, _changes(before, lost))


def _changes(before: Row, row: Row) -> dict[str, Any]:
    """What a step wrote or changed; a seed's texts, which stand with the seed, are left out."""
    known = {before.get("instruction")} if before else set()
    told = {name: value for name, value in row.items() if name not in _NOT_TOLD and value not in (None, "", [])}
    return {
        name: value
        for name, value in told.items()
        if before.get(name) != value
        and not (name in ("seed_instruction", "parent_instruction") and value in known)
        and not (name == "seed_tags" and before.get("tags") == value)
    }


def _where(record: Mapping[str, Any], mark: Row, seen: int) -> tuple[int, str]:
    """Number and name of the step that rejected a row, which was there after the step `seen`."""
    steps = [mapping_of(step) for step in list_of(record.get("steps"))]
    for step in steps:
        if step.get("number", 0) > seen and mark["reason"] in mapping_of(step.get("rejected")):
            return step["number"], str(step.get("name"))
    return len(steps) + 1, str(mark["stage"])


def _children(folder: Folder, seed_id: str) -> Iterator[Child]:
    """The rows made of a seed, as they are at the end of their way."""
    found: dict[str, dict[str, Any]] = {}
    for rows in folder.everything():
        found.update((row["id"], row) for row in all_with(rows, "seed_id", seed_id))
    for row_id in sorted(found, key=lambda one: (found[one].get("budget") or found[one].get("round") or 0, one)):
        row = found[row_id]
        fate = _fate(folder, row_id, has_children=False)
        fate = f"{fate}: {row['rejection']['reason']}" if row.get("rejection") else fate
        made_by = {name: row[name] for name in _MADE_BY if row.get(name) is not None}
        yield Child(row_id, str(row.get("instruction") or ""), made_by, fate, row.get("score"))


def _tags(folder: Folder, row: Row) -> tuple[Tag, ...]:
    """The open tags of a row, and what normalisation made of them."""
    given = [tag for tag in list_of(row.get("open_tags")) if isinstance(tag, Mapping)]
    wanted = {tag.get("tag") for tag in given}
    entries = (mapping_of(entry) for entry in list_of(read_json(folder.path / "tags.json").get("entries")))
    table = {entry["tag"]: entry for entry in entries if entry.get("tag") in wanted}
    return tuple(_tag(tag, mapping_of(table.get(tag.get("tag")))) for tag in given)


def _tag(tag: Mapping[str, Any], entry: Mapping[str, Any]) -> Tag:
    label = entry.get("canonical")
    why = str(entry.get("why") or "")
    return Tag(str(tag.get("tag")), str(tag.get("explanation") or ""), None if label is None else str(label), why)


def _clusters(folder: Folder, row: Row) -> dict[str, str]:
    names = list_of(read_json(folder.path / "clusters.json").get("names"))
    numbers = clusters_of(row)
    told = {n: names[n] if n < len(names) else "" for n in numbers}
    return {str(n): ", ".join(map(str, name)) if isinstance(name, list) else str(name) for n, name in told.items()}
