"""The YAML head of a data set's card: our configs come and go, all that a person wrote stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from .layout import shard_folder
from .readme_check import by_name, head_of

_OURS = ("configs", "dataset_info")  # lists with an entry a config


def split_head(text: str) -> tuple[str, dict[str, Any]]:
    """A card without its lists of configs, and these lists.

    Raises:
        DataError: If the head is no valid YAML.
    """
    head = head_of(text)
    if not any(key in head for key in _OURS):
        return text, {}
    top, _, body = text.removeprefix("---").partition("\n---")
    lines = top.strip("\n").split("\n")
    kept = "\n".join(line for number, line in enumerate(lines) if number not in _lines_of(lines))
    return f"---\n{kept}\n---{body}", {key: head[key] for key in _OURS if key in head}


def with_configs(text: str, before: Mapping[str, Any], ours: Iterable[str]) -> str:
    """A card with its lists of configs: those of others as they were, and ours.

    Args:
        text: A card without them, with a head.
        before: What `split_head` took out.
        ours: Names of our configs, in their order.
    """
    ours = list(ours)
    others = [entry for name, entry in by_name(before.get("configs")).items() if name not in ours]
    has_default = any(entry.get("default") or entry.get("config_name") == "default" for entry in others)
    lists: dict[str, Any] = {
        "configs": [*others, *(_entry(name, first=not has_default and name == ours[0]) for name in ours)]
    }
    if infos := [entry for name, entry in by_name(before.get("dataset_info")).items() if name not in ours]:
        lists["dataset_info"] = infos
    head, _, body = text.removeprefix("---\n").partition("\n---")
    return f"---\n{head}\n{yaml.safe_dump(lists, sort_keys=False, allow_unicode=True).rstrip()}\n---{body}"


def _entry(name: str, *, first: bool) -> dict[str, Any]:
    files = [{"split": "train", "path": f"{shard_folder(name)}train-*"}]
    return {"config_name": name, "data_files": files, **({"default": True} if first else {})}


def _lines_of(lines: list[str]) -> set[int]:
    """Numbers of the lines of a head that hold our lists; comments behind them are not taken."""
    node = yaml.compose("\n".join(lines))
    taken: set[int] = set()
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value in _OURS:
            last = value.end_mark.line + (value.end_mark.column > 0)
            while last > key.start_mark.line + 1 and (not lines[last - 1].strip() or lines[last - 1].startswith("#")):
                last -= 1
            taken |= set(range(key.start_mark.line, last))
    return taken
