"""Reading data sets as they are: files, globs, saved folders and Hub ids."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import (
    Dataset,
    DatasetDict,
    DatasetInfo,
    Features,
    Value,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)
from datasets import config as datasets_config
from datasets.exceptions import DatasetsError

from .errors import DataError
from .rows import ROW_FEATURES, Row, rejection, with_columns
from .streams import spool

_LOADERS = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "arrow",
}


def load(
    source: str | Path,
    *,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    limit: int | None = None,
    streaming: bool = False,
) -> Dataset:
    """Read a data set as it is.

    Args:
        source: A file (json, jsonl, parquet, csv, arrow; also gzipped), a glob, a folder that `save_to_disk` wrote
            or that holds data files, or a Hub id.
        config: Configuration of a Hub data set.
        split: Which split of it.
        revision: Which revision of it.
        limit: Only the first so many rows.
        streaming: Fetch rows one by one, no more than `limit`, in place of all files of the source; they are kept in
            the cache of `datasets`, and a call that broke off goes on. A Hub id without a revision is not looked at
            again once its rows are there.

    Raises:
        DataError: If there is no such source, or it cannot be read.
    """
    source = str(source)
    streaming = streaming and not (Path(source) / "state.json").is_file()  # a saved data set lies on disk already
    try:
        found = _stream(source, config, split, revision, limit) if streaming else _read(source, config, split, revision)
    except DataError as fault:
        raise DataError(f"data.source {source!r}: {fault}") from fault
    except (OSError, ValueError, TypeError, DatasetsError, StopIteration) as fault:
        line = " ".join(str(fault).split())[:300] or "it holds no rows"
        raise DataError(f"data.source {source!r}: cannot be read ({line})") from fault
    if isinstance(found, DatasetDict):
        if split not in found:
            raise DataError(f"data.source {source!r}: no split {split!r}; it has: {', '.join(found)}")
        found = found[split]
    return found if limit is None else found.select(range(min(limit, len(found))))


def together(parts: Mapping[str, Dataset]) -> Dataset:
    """Prepared rows of several sources in one data set, in the order of the sources.

    Only a row's own columns stay (the sources' others differ), and `source` says where it comes from. A row whose id a
    source before has is rejected with "duplicate_id"; for rows without given ids that is an equal row.

    Args:
        parts: Name of the source → its prepared rows.
    """
    named = [
        rows.select_columns(list(ROW_FEATURES)).add_column("source", [name] * len(rows), feature=Value("string"))
        for name, rows in parts.items()
        if len(rows)
    ]
    both = concatenate_datasets(named)
    seen: dict[str, str] = {}

    def unique(row: Row) -> dict[str, Any]:
        first = seen.setdefault(row["id"], row["source"])
        if first == row["source"]:
            return {"id": row["id"], "rejection": row["rejection"]}
        mark = row["rejection"] or rejection("load", "duplicate_id", f"{row['id']} is a row of {first} as well")
        return {"id": f"{row['id']}@{row['source']}", "rejection": mark}

    return with_columns(both, unique, Features({name: ROW_FEATURES[name] for name in ("id", "rejection")}))


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
    if files := _files(source):
        return load_dataset(_loader(files[0]), data_files=files, split="train")
    _refuse_missing(source)
    return load_dataset(source, config, split=split, revision=revision)


def _files(source: str) -> list[str]:
    """The files that a path or a glob names; none for a folder or a Hub id."""
    if Path(source).is_file():
        return [source]
    return sorted(glob.glob(source, recursive=True)) if glob.has_magic(source) else []


def _refuse_missing(source: str) -> None:
    path = Path(source)
    local = glob.has_magic(source) or path.suffix in _LOADERS or source.startswith((".", "/", "~"))
    if local and not path.is_dir():
        raise FileNotFoundError("no such file")


def _stream(source: str, config: str | None, split: str, revision: str | None, limit: int | None) -> Dataset:
    files = _files(source)
    if files:
        stats = [(name, (stat := os.stat(name)).st_size, stat.st_mtime_ns) for name in files]
        stream = load_dataset(_loader(files[0]), data_files=files, split="train", streaming=True)
    else:
        _refuse_missing(source)
        stats = []
        stream = load_dataset(source, config, split=split, revision=revision, streaming=True)
    mark = json.dumps([source, config, split, revision, stats])
    folder = (
        Path(datasets_config.HF_DATASETS_CACHE) / "tagevol-streams" / hashlib.sha256(mark.encode()).hexdigest()[:16]
    )
    return spool(stream, folder, limit=limit, source=mark)


def _loader(file: str) -> str:
    suffixes = [suffix for suffix in Path(file).suffixes if suffix not in (".gz", ".zst", ".bz2", ".xz")]
    kind = _LOADERS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise ValueError(f"{file}: expected a file ending in {', '.join(_LOADERS)}")
    return kind
