"""The data to train on: a run folder, a data set saved on disk, or one on the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, load_dataset

from ..errors import DataError, one_line
from ..rows import ROW_FEATURES, rows_of
from ..sources import open_saved

USED = ("id", "instruction", "input", "response", "history")
CURATED_FEATURES = Features({name: ROW_FEATURES[name] for name in USED})
SAVED = ("dataset_info.json", "dataset_dict.json")  # one of these is in whatever `save_to_disk` wrote
RUN_FILES = ("run.json", "recipe.yaml", "store.sqlite", "selected")


def load_curated(where: str) -> tuple[Dataset, int]:
    """Rows that can be trained on, and the number of rows left out because they have no response.

    Args:
        where: A run folder, a folder written by `save_to_disk`, or a Hub id with configuration `selected`.

    Returns:
        Rows with the columns `USED`, in their order, and how many had an empty response.

    Raises:
        DataError: If there is no such data, the run is not finished, a column is missing or no row is left.
    """
    rows = read_part(where, "selected")
    answered = [index for index, text in enumerate(rows["response"]) if text and text.strip()]
    if not answered:
        found = f"{len(rows)} rows without a response" if len(rows) else "no row"
        raise DataError(f"{where}: the curated set is empty, found {found}; see rejected/ and report.html of the run")
    return (rows if len(answered) == len(rows) else rows.select(answered)), len(rows) - len(answered)


def read_part(where: str, part: str) -> Dataset:
    """One part of a run ("selected", "not_chosen"), with the columns `USED` and, if present, `seed_id`.

    Raises:
        DataError: If there is no such data, the run is not finished, or a column is missing.
    """
    folder = Path(where)
    if not folder.exists():
        return _typed(_from_hub(where, part), where)
    if any((folder / name).is_file() for name in SAVED):
        return _typed(_saved_part(open_saved(folder), where, part), where)
    if folder.is_file():
        raise DataError(
            f"{folder}: a file is no curated set; name it as data.source of a curate recipe, or give a folder that "
            "save_to_disk wrote"
        )
    check_run(folder)
    if not (folder / part).is_dir():
        raise DataError(f"{folder}: the run has no {part}/; it may come from another version, so curate it again")
    return _typed(_one(open_saved(folder / part), where, part), f"{where}/{part}")


def check_run(folder: Path) -> dict[str, Any]:
    """The content of `run.json` of a finished run.

    Raises:
        DataError: If the folder is no run folder, or its run did not reach its end.
    """
    if not any((folder / name).exists() for name in RUN_FILES):
        raise DataError(
            f"{folder}: neither a run folder nor a saved data set nor a recipe's; expected "
            f"{', '.join(RUN_FILES)} or curate.yaml in it"
        )
    try:
        run = json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        run = {}
    if not isinstance(run, dict) or run.get("status") != "complete":
        recipe = folder / "recipe.yaml"
        command = f"tagevol curate {recipe if recipe.is_file() else '<recipe>'} --out {folder}"
        raise DataError(f"{folder}: this run is not finished (run.json does not say so); go on with: {command}")
    return run


def content_digest(rows: Dataset) -> str:
    """SHA-256 of all texts that are trained on, in order, whatever files they come from."""
    digest = hashlib.sha256()
    for batch in rows.select_columns(list(USED)).iter(1000):
        for row in rows_of(batch):
            line = json.dumps(row, ensure_ascii=False, sort_keys=True)
            digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _from_hub(where: str, part: str) -> Dataset:
    looks_local = where.startswith((".", "/", "~", "runs/")) or where.count("/") != 1
    if looks_local:
        raise DataError(f"{where}: no such run folder; make it with: tagevol run <recipe> (or tagevol curate <recipe>)")
    try:
        return load_dataset(where, part, split="train")
    except Exception as error:
        raise DataError(
            f"{where}: no such folder, and it cannot be read from the Hub with configuration {part!r} "
            f"({one_line(error, 200)}); make a run with: tagevol run <recipe>"
        ) from error


def _one(loaded: Dataset | DatasetDict, where: str, part: str) -> Dataset:
    if not isinstance(loaded, DatasetDict):
        return loaded
    for name in (part, "train"):
        if name in loaded:
            return loaded[name]
    raise DataError(f"{where}: expected a split {part!r} or 'train', got {', '.join(loaded)}")


def _saved_part(loaded: Dataset | DatasetDict, where: str, part: str) -> Dataset:
    """A saved data set is what was selected; other parts it has only as splits of that name."""
    if part != "selected" and (not isinstance(loaded, DatasetDict) or part not in loaded):
        raise DataError(
            f"{where}: a saved data set without a split {part!r}, so there is nothing to measure the loss on that was "
            "not trained on; give a run folder, or leave eval_strategy out"
        )
    return _one(loaded, where, part)


def _typed(rows: Dataset, where: str) -> Dataset:
    """The needed columns with their declared types; an absent `id`, `input` or `history` gets its default."""
    missing = [name for name in ("instruction", "response") if name not in rows.column_names]
    if missing:
        raise DataError(
            f"{where}: needs the column {missing[0]!r}; it has {', '.join(rows.column_names)}; rename_column, "
            "or read it by a curate recipe"
        )
    defaults: Mapping[str, list[Any]] = {
        "id": [str(index) for index in range(len(rows))],
        "input": [""] * len(rows),
        "history": [[]] * len(rows),
    }
    for name, values in defaults.items():
        if name not in rows.column_names:
            rows = rows.add_column(name, values, feature=ROW_FEATURES[name])
    seed = ["seed_id"] if "seed_id" in rows.column_names else []
    rows = rows.select_columns([*USED, *seed])
    features = Features({**CURATED_FEATURES, **dict.fromkeys(seed, ROW_FEATURES["id"])})
    return rows if rows.features == features else rows.cast(features, keep_in_memory=True, load_from_cache_file=False)
