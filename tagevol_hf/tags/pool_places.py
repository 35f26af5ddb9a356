"""Where a tag pool lies: a JSON file, a run folder, a saved data set, or the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from datasets import Dataset

from ..errors import DataError, one_line
from ..sources import load, open_saved
from .pool_json import table_from_json
from .pool_rows import table_from_dataset
from .pool_table import Table

FILE = "tag_pool.json"  # its name in a run folder
CONFIG = "tag_pool"  # its configuration in a data set on the Hub
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?::(?P<config>[\w.-]+))?")
_EXPECTED = "expected a tag_pool.json, a run folder with one, a saved tag pool, or a Hub id as owner/name"


def find_table(where: str) -> Table:
    """The pool at a place; the arguments and errors are those of `open_pool`."""
    path = Path(where).expanduser()
    if path.is_dir():
        return _in_folder(path)
    hub = _HUB_ID.fullmatch(where)
    if path.exists() or path.suffix == ".json":
        return read_file(path)
    if hub is None or where.startswith("."):
        raise DataError(f"tag pool {where!r}: no such file or folder; {_EXPECTED}")
    return _on_the_hub(where, hub["repo"], hub["config"] or CONFIG)


def read_file(path: Path) -> Table:
    """The pool in a JSON file.

    Raises:
        DataError: If the file cannot be read, is not a tag pool or has no tag.
    """
    try:
        return table_from_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_EXPECTED}") from None
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror or fault})") from None
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None


def push(dataset: Dataset, repo: str, config_name: str, private: bool) -> None:
    """Push a pool's data set as a configuration; see `TagPool.push_to_hub`."""
    try:
        dataset.push_to_hub(repo, config_name=config_name, private=private)
    except (OSError, ValueError) as fault:
        raise DataError(
            f"{repo}: the tag pool cannot be pushed ({one_line(fault, 200)}); expected owner/name and a token that may "
            "write there (hf auth login)"
        ) from fault


def _in_folder(folder: Path) -> Table:
    if (folder / FILE).exists():
        return read_file(folder / FILE)
    if (folder / "run.json").exists():
        raise DataError(
            f"{folder}: this run has no {FILE}; its recipe needs the step tag_pool, and must have come to it"
        )
    if not any((folder / name).exists() for name in ("dataset_info.json", "dataset_dict.json")):
        raise DataError(f"{folder}: the folder holds no tag pool; {_EXPECTED}")
    saved = open_saved(folder)
    if not isinstance(saved, Dataset):
        raise DataError(f"{folder}: expected one data set, got the splits {', '.join(saved)}; name the folder of one")
    return _in_dataset(str(folder), saved)


def _on_the_hub(where: str, repo: str, config: str) -> Table:
    try:
        found = load(repo, config=config)
    except DataError as fault:
        raise DataError(
            f"tag pool {where!r}: no such file or folder, and no data set with a configuration {config!r} on the Hub "
            f"({one_line(fault, 200)}); {_EXPECTED}"
        ) from fault
    return _in_dataset(where, found)


def _in_dataset(where: str, dataset: Dataset) -> Table:
    try:
        return table_from_dataset(dataset)
    except DataError as fault:
        raise DataError(f"{where}: {fault}") from None
