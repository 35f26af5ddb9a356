"""What the arms selected, each row with its learned tokens; and rows that no training sees."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from ...errors import DataError
from ...evals.held_out import held_out_rows
from ...training import encode, lengths, models
from ...training.chat_templates import give_template
from ...training.curated import content_digest, load_curated, read_part
from ...training.record import model_identity, read_json, write_json
from .budgets import Pool
from .options import HELD_OUT

MASKED = -100
KINDS = {
    "unseen_seeds": "rows of the runs that no training saw, from seeds of which none saw a row",
    "seen_seeds": "rows of the runs that no training saw, though some saw another row of their seed",
}
_TEXT = ("format", "max_length", "long_rows", "chat_template_path", "eos_token", "model_revision")


@dataclass(frozen=True)
class HeldOut:
    """Rows that no training sees, saved on disk.

    Attributes:
        kind: What they are, in words.
        digest: Of their texts.
    """

    folder: Path
    rows: int
    kind: str
    digest: str


def selected_rows(folders: Mapping[str, Path]) -> tuple[dict[str, Dataset], dict[str, str]]:
    """What each arm selected and has a response; and of the arms without such rows why there are none."""
    read = {arm: _selected(folder) for arm, folder in folders.items()}
    found = {arm: rows for arm, rows in read.items() if isinstance(rows, Dataset)}
    return found, {arm: fault for arm, fault in read.items() if isinstance(fault, str)}


def _selected(folder: Path) -> Dataset | str:
    try:
        return load_curated(str(folder))[0]
    except DataError as fault:
        return str(fault)


def base_model(name: str, selected: Mapping[str, Dataset], place: Path) -> str:
    """The model that all arms start from; a `tiny:` one is made once, of the texts of all arms.

    Made for each arm alone, it would have a tokenizer of its own there, and no loss could be compared.
    """
    if not name.startswith(models.TINY):
        return name
    rows = concatenate_datasets([part.select_columns(_shared(selected)) for part in selected.values()])
    keys = list(zip(rows["id"], rows["response"], strict=True))
    order = sorted(range(len(rows)), key=lambda place: keys[place])
    rows = rows.select(order)
    return models.resolve_model(name, place, rows, content_digest(rows))


def pools_of(selected: Mapping[str, Dataset], settings: Mapping[str, Any], model: str, place: Path) -> list[Pool]:
    """The arms' rows with their learned tokens, counted with the model's tokenizer as a training encodes them.

    Args:
        selected: Arm → rows.
        settings: Arguments of the training, as given.
        model: The model's name or folder.
        place: Folder of the counts, which are read there while nothing has changed.

    Raises:
        RecipeError: If the model has no tokenizer, or the format is not known.
        DataError: If a row cannot be encoded.
    """
    how = [model_identity(model), *(settings.get(name) for name in _TEXT)]
    tokenizer = None
    pools = []
    for arm, rows in selected.items():
        digest = content_digest(rows)
        key, file = _digest([digest, how]), place / f"{arm}.tokens.json"
        counted = read_json(file)
        if counted.get("key") != key:
            tokenizer = tokenizer or _tokenizer(model, settings)
            counted = {"key": key, "tokens": _learned(rows, settings, tokenizer)}
            place.mkdir(parents=True, exist_ok=True)
            write_json(file, counted)
        pools.append(Pool(arm, rows, tuple(counted["tokens"]), digest))
    return pools


def held_out_of(
    folders: Mapping[str, Path], drawn: Mapping[str, Dataset], limit: int, place: Path, source: str | None = None
) -> HeldOut:
    """The same rows for all arms: with a response, seen by no training, drawn by a hash of their id.

    Args:
        folders: Arm → its run.
        drawn: Arm → the rows that its trainings see.
        limit: Most rows.
        place: Folder for them.
        source: A saved data set, a run folder or a Hub id to take them from; None takes other rows of the runs, first
            of all those from seeds of which no training sees a row.

    Raises:
        DataError: If there are none, or two of the source have the same id.
    """
    seen = concatenate_datasets([rows.select_columns(_shared(drawn)) for rows in drawn.values()])
    if source:
        parts = [read_part(source, "selected")]
        _check_ids(parts[0]["id"], source)
    else:
        parts = [read_part(str(run), part) for part in ("not_chosen", "selected") for run in folders.values()]
    pool = _left(parts, set() if source else set(seen["id"]), set(_texts(seen)))
    if pool is None:
        raise DataError(
            f"{HELD_OUT}: there is no row with a response that no training sees; name other rows as "
            f"evaluate.data.{HELD_OUT}, a saved data set"
        )
    found = held_out_rows(seen.select([]) if source else seen, pool, limit)
    return _saved(found.rows, f"rows of {source}" if source else KINDS[found.kind], place)


def _left(parts: Sequence[Dataset], taken: set[str], texts: set[tuple[str, str]]) -> Dataset | None:
    """Rows with a response that are not taken, in one data set; those of several parts once, as the first has them.

    Likewise none with the instruction and input of a row that a training sees.
    """
    kept = []
    for rows in parts:
        columns = zip(rows["id"], _texts(rows), rows["response"], strict=True)
        names = {number: name for number, (name, text, response) in enumerate(columns)
                 if name not in taken and text not in texts and (response or "").strip()}  # fmt: skip
        kept += [rows.select(list(names))] if names else []
        taken.update(names.values())
    shared = _shared(dict(enumerate(kept))) if kept else []
    return concatenate_datasets([rows.select_columns(shared) for rows in kept]) if kept else None


def _check_ids(ids: Sequence[str], source: str) -> None:
    most, times = Counter(ids).most_common(1)[0] if len(ids) else ("", 0)
    if times > 1:
        raise DataError(f"{HELD_OUT}: {source}: {times} rows have the id {most!r}; scores are compared by id")


def _saved(rows: Dataset, kind: str, place: Path) -> HeldOut:
    digest, record = content_digest(rows), place / "held_out.json"
    if read_json(record).get("digest") != digest or not (place / "held_out" / "state.json").is_file():
        record.unlink(missing_ok=True)
        shutil.rmtree(place / "held_out", ignore_errors=True)
        rows.save_to_disk(place / "held_out")
        write_json(record, {"rows": len(rows), "kind": kind, "digest": digest})
    return HeldOut(place / "held_out", len(rows), kind, digest)


def _shared(parts: Mapping[Any, Dataset]) -> list[str]:
    """Columns that all have."""
    first, *others = parts.values()
    return [name for name in first.column_names if all(name in other.column_names for other in others)]


def _texts(rows: Dataset) -> list[tuple[str, str]]:
    return [(a or "", b or "") for a, b in zip(rows["instruction"], rows["input"], strict=True)]


def _tokenizer(model: str, settings: Mapping[str, Any]) -> Any:
    trust = str(settings.get("trust_remote_code", False)).lower() == "true"
    revision, end = str(settings.get("model_revision") or "main"), settings.get("eos_token")
    tokenizer = models.load_tokenizer(model, revision=revision, trust_remote_code=trust, eos_token=end)
    give_template(tokenizer, _format(settings), settings.get("chat_template_path"))
    return tokenizer


def _learned(rows: Dataset, settings: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Learned tokens of each row; 0 for one that the training leaves out, or that its cut leaves nothing of."""
    encoded = encode.encode(rows, _format(settings), tokenizer)
    longest = max_length_of(settings)
    drops = str(settings.get("long_rows", lengths.LONG_ROWS[0])) == "drop"
    counts = []
    for labels in encoded["labels"]:
        whole = longest is None or len(labels) <= longest
        counts.append(0 if drops and not whole else sum(label != MASKED for label in labels[:longest]))
    return counts


def max_length_of(settings: Mapping[str, Any]) -> int | None:
    """The training's longest row, in tokens; TRL's default where the arguments say nothing."""
    given = settings.get("max_length", 1024)
    return None if given is None or str(given).lower() == "none" else int(given)


def _format(settings: Mapping[str, Any]) -> str:
    return str(settings.get("format", "alpaca"))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, default=str).encode()).hexdigest()
