"""The hand-made run of the report's tests with a map of its clusters, whole or without some of its parts."""

from __future__ import annotations

import shutil
from pathlib import Path

from datasets import load_from_disk
from demo_run import build_demo_run, write


def build_mapped_run(folder: Path) -> Path:
    """The demo run with a place for each row that it kept."""
    build_demo_run(folder)
    parts = [load_from_disk(str(folder / name)) for name in ("selected", "not_chosen")]
    rows = [(row_id, number) for part in parts for row_id, number in zip(part["id"], part["cluster"], strict=True)]
    points = [[row_id, (n * 37 % 100) / 100, n / len(rows), number] for n, (row_id, number) in enumerate(rows)]
    write(folder / "cluster_map.json", {"format": 1, "rows": 500, "how": "t-SNE", "points": points})
    return folder


def without(folder: Path, *names: str) -> Path:
    """The run without some of its files and folders."""
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder
