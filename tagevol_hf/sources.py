"""Reading data sets as they are: files, globs, saved folders and Hub ids."""

from __future__ import annotations

import glob
import json
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, DatasetInfo, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError

from .errors import DataError

_LOADERS = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "arrow",
}


def load(
    source: str,
    *,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    limit: int | None = None,
) -> Dataset:
    """Read a data set as it is.

    Args:
        source: A file (json, jsonl, parquet, csv, arrow; also gzipped), a glob, a folder that `save_to_disk` wrote
            or that holds data files, or a Hub id.
        config: Configuration of a Hub data set.
        split: Which split of it.
        revision: Which revision of it.
        limit: Only the first so many rows.

    Raises:
        DataError: If there is no such source, or it cannot be read.
    """
    try:
        found = _read(source, config, split, revision)
    except (OSError, ValueError, TypeError, DatasetsError, StopIteration) as fault:
        line = " ".join(str(fault).split())[:300] or "it holds no rows"
        raise DataError(f"data.source {source!r}: cannot be read ({line})") from fault
    if isinstance(found, DatasetDict):
        if split not in found:
            raise DataError(f"data.source {source!r}: no split {split!r}; it has: {', '.join(found)}")
        found = found[split]
    return found if limit is None else found.select(range(min(limit, len(found))))


def open_saved(folder: Path) -> Dataset | DatasetDict:
    """What `save_to_disk` wrote; unlike `load_from_disk` (datasets 5.2) it can read a data set without rows.

    Raises:
        DataError: If the files are damaged.
    """
    try:
        state = folder / "state.json"
        if state.is_file() and not json.loads(state.read_text("utf-8"))["_data_files"]:
            features = DatasetInfo.from_directory(str(folder)).features
            return Dataset.from_dict({name: [] for name in features or {}}, features=features)
        return load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: the saved data set cannot be read ({line}); make it again") from error


def _read(source: str, config: str | None, split: str, revision: str | None) -> Any:
    path = Path(source)
    if path.is_dir() and ((path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists()):
        return open_saved(path)
    files = [source] if path.is_file() else sorted(glob.glob(source, recursive=True)) if glob.has_magic(source) else []
    if files:
        return load_dataset(_loader(files[0]), data_files=files, split="train")
    local = glob.has_magic(source) or path.suffix in _LOADERS or source.startswith((".", "/", "~"))
    if local and not path.is_dir():
        raise FileNotFoundError("no such file")
    return load_dataset(source, config, split=split, revision=revision)


def _loader(file: str) -> str:
    suffixes = [suffix for suffix in Path(file).suffixes if suffix not in (".gz", ".zst", ".bz2", ".xz")]
    kind = _LOADERS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise ValueError(f"{file}: expected a file ending in {', '.join(_LOADERS)}")
    return kind
