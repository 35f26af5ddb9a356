"""Whether a card says what is there: the files of each config, its rows, the recipe's digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import yaml

from ..errors import DataError
from .layout import CARD, CONFIGS, PROVENANCE, shard_folder

_DATA = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".arrow", ".gz", ".zst", ".zip", ".tar")


def head_of(text: str) -> dict[str, Any]:
    """The YAML head of a card; empty where it has none.

    Raises:
        DataError: If it is not valid.
    """
    if not text.startswith("---"):
        return {}
    try:
        head = yaml.safe_load(text.split("\n---", 1)[0].removeprefix("---"))
    except yaml.YAMLError as fault:
        raise DataError(f"{CARD}: its head is not valid YAML ({' '.join(str(fault).split())[:200]})") from None
    return head if isinstance(head, dict) else {}


def card_faults(text: str, provenance: Mapping[str, Any]) -> list[str]:
    """Where a card does not fit provenance.json; each with its place."""
    try:
        head = head_of(text)
    except DataError as fault:
        return [str(fault)]
    found: list[str] = []
    listed, infos = by_name(head.get("configs")), by_name(head.get("dataset_info"))
    for name, entry in provenance["configs"].items():
        found += _files(name, entry, listed.get(name))
        found += _rows(name, entry, infos.get(name))
    digest = provenance["recipe"]["digest"]
    if digest not in text:
        found.append(f"{CARD}: the recipe's digest {digest} is not in it")
    return found


def touched(before: str, after: str, pushed: Mapping[str, Any]) -> list[str]:
    """The configs of a card that a new card changes or loses, other than those that are pushed."""
    old, new = head_of(before), head_of(after)
    return [
        name
        for key in ("configs", "dataset_info")
        for name, entry in by_name(old.get(key)).items()
        if name not in pushed and by_name(new.get(key)).get(name) != entry
    ]


def hidden_data(card: str, files: Iterable[str]) -> list[str]:
    """Data files of somebody else that no config names, and that a first named config would hide from `load_dataset`.

    Args:
        card: Text of the README.md, as it was.
        files: Paths in the repository.
    """
    if head_of(card).get("configs"):
        return []
    ours = (PROVENANCE, *map(shard_folder, CONFIGS))
    return sorted(path for path in files if path.endswith(_DATA) and not path.startswith(ours))


def _files(name: str, entry: Mapping[str, Any], listed: Mapping[str, Any] | None) -> Iterator[str]:
    if listed is None:
        yield f"{CARD}: configs does not name {name}"
        return
    patterns = list(_patterns(listed.get("data_files")))
    for shard in entry["shards"]:
        if not any(fnmatchcase(shard["path"], pattern) for pattern in patterns):
            yield f"{CARD}: configs, {name}: data_files does not name {shard['path']}"


def _rows(name: str, entry: Mapping[str, Any], info: Mapping[str, Any] | None) -> Iterator[str]:
    for split in (info or {}).get("splits") or ():
        if split.get("num_examples") != entry["rows"]:
            yield f"{CARD}: dataset_info, {name}: {split.get('num_examples')} rows, there are {entry['rows']}"


def _patterns(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
    elif isinstance(files, Mapping):
        yield from _patterns(files.get("path") or list(files.values()))
    elif isinstance(files, list):
        for part in files:
            yield from _patterns(part)


def by_name(entries: Any) -> dict[str, Mapping[str, Any]]:
    """Entries of the list `configs` or `dataset_info` of a head, by the name of their config."""
    listed = [entries] if isinstance(entries, Mapping) else entries or []
    return {str(entry.get("config_name", "default")): entry for entry in listed if isinstance(entry, Mapping)}
