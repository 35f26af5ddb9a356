"""What of a run is published: five configs, each with Features that depend on the recipe and on no row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo, Features, List, Value, concatenate_datasets

from ..errors import DataError
from ..rows import ROW_FEATURES, columns_of, iterate
from ..run_folder import read_run
from ..selection.compare import Comparer
from ..selection.pairing import PAIR_FEATURES
from ..sources import open_saved
from ..tags.pool import TagPool

TAGS = Features(
    {
        "tag": Value("string"),
        "origin": Value("string"),  # "pool" (what evolution draws from) or "rows" (what the rows are about)
        "count": Value("int64"),  # rows
        "label": Value("string"),  # its name after normalisation; null where it was dropped, or never normalised
        "step": Value("string"),  # of the normalisation, that decided
        "why": Value("string"),
        "aspects": List({"aspect": Value("string"), "rows": Value("int64")}),
    }
)
COMPARISONS = Features({**PAIR_FEATURES, **Comparer.features})
_EVOLVING = ("tag_evol", "evol_instruct", "auto_evol")
_AFTER_EVOLVING = (*_EVOLVING, "review", "respond", "agree")


def configs_of(run: Path) -> dict[str, Dataset]:
    """The configs that a finished run has rows for, in the order of `layout.CONFIGS`.

    selected     the curated rows, best first where they were ranked
    evolved      every evolved row that no later step rejected, with its answer, selected or not
    tags         a row a tag: of the pool, and of the rows before and after normalisation
    comparisons  the compared pairs; one without a score carries its `rejection`
    rejected     the rows that left, each with its reason, in all columns of the run

    Raises:
        DataError: If the folder is no run folder, the run is not finished, or its data cannot be read.
    """
    status = read_run(run).get("status")
    if status != "complete":
        raise DataError(f"{run}: the run is not finished (status {status!r}); run the same recipe again, then publish")
    rejected = open_saved(run / "rejected")
    made = {
        "selected": _typed(open_saved(run / "selected"), _features(run / "selected")),
        "evolved": _evolved(run, set(rejected["id"])),
        "tags": _tags(run),
        "comparisons": _comparisons(run),
        "rejected": _typed(rejected, _all_features(run)),
    }
    return {name: rows for name, rows in made.items() if rows is not None and len(rows)}


def step_folders(run: Path) -> list[Path]:
    """The saved rows of the steps, in their order."""
    return sorted(folder for folder in run.glob("steps/*") if (folder / "dataset_info.json").is_file())


def _evolved(run: Path, left: set[str]) -> Dataset | None:
    steps = step_folders(run)
    if not any(_step(folder) in _EVOLVING for folder in steps):
        return None
    folder = [folder for folder in steps if _step(folder) in _AFTER_EVOLVING][-1]
    rows = _typed(open_saved(folder), _features(folder))
    return rows.select([place for place, row_id in enumerate(rows["id"]) if row_id not in left])


def _comparisons(run: Path) -> Dataset | None:
    folders = [run / name for name in ("comparisons", "comparisons_rejected")]
    parts = [_typed(open_saved(folder), COMPARISONS) for folder in folders if folder.is_dir()]
    return concatenate_datasets(parts) if parts else None


def _tags(run: Path) -> Dataset | None:
    rows = [*_pool_tags(run / "tag_pool.json"), *_row_tags(run / "tags.json")]
    if not rows:
        return None
    rows.sort(key=lambda row: (row["origin"], -row["count"], row["tag"]))
    return Dataset.from_dict(dict(columns_of(rows, TAGS)), features=TAGS)


def _pool_tags(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        pool = TagPool.load(file).to_dataset().select_columns(["tag", "count", "aspects"])
        for row in iterate(pool):
            yield {**row, "origin": "pool"}


def _row_tags(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    try:
        entries: Sequence[dict[str, Any]] = json.loads(file.read_text("utf-8"))["entries"]
        for entry in entries:
            names = {name: entry[name] for name in ("tag", "count", "step", "why")}
            yield {**names, "label": entry["canonical"], "origin": "rows", "aspects": []}
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(f"{file}: cannot be read ({fault!r}); run the recipe again") from None


def _step(folder: Path) -> str:
    return folder.name.partition("-")[2]


def _all_features(run: Path) -> Features:
    """The columns of every step, so that they do not depend on where rows were rejected."""
    found = Features(ROW_FEATURES)
    for folder in (*step_folders(run), run / "selected", run / "not_chosen", run / "rejected"):
        found.update(_features(folder))
    return found


def _features(folder: Path) -> Features:
    saved = DatasetInfo.from_directory(str(folder)).features or {}
    return Features({name: ROW_FEATURES.get(name) or _declared(feature) for name, feature in saved.items()})


def _declared(feature: Any) -> Any:
    """A type with text where nothing but nulls was seen."""
    if isinstance(feature, Value):
        return Value("string") if feature.dtype == "null" else feature
    if isinstance(feature, List):
        return List(_declared(feature.feature), length=feature.length)
    if isinstance(feature, dict):
        return {name: _declared(part) for name, part in feature.items()}
    return feature


def _typed(rows: Any, features: Features) -> Dataset:
    """The rows with exactly these columns, in this order; one that is not there is null."""
    data: Dataset = rows.with_format(None)
    if len(data) == 0:
        return Dataset.from_dict({name: [] for name in features}, features=features)
    present = [name for name in features if name in data.column_names]
    data = data.select_columns(present)
    wanted = Features({name: features[name] for name in present})
    if data.features != wanted:
        data = _cast(data, wanted)
    absent = [name for name in features if name not in present]
    if absent:
        empty = Features({name: features[name] for name in absent})
        columns = {name: [None] * len(data) for name in absent}
        data = concatenate_datasets([data, Dataset.from_dict(columns, features=empty)], axis=1)
    return data.select_columns(list(features))


def _cast(data: Dataset, wanted: Features) -> Dataset:
    return Dataset(data.with_format("arrow")[:].cast(wanted.arrow_schema))
