"""What was found, as text, JSON and Markdown, with the machine that it was found on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .plan import Outcome


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load and versions; nothing that names the machine."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "cpu": _line_of("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_line_of("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def as_text(outcome: Outcome) -> str:
    """A table for the terminal."""
    parts = [outcome.title, "", *_aligned(outcome.table), ""]
    parts += [f"{'ok    ' if check.held else 'MISSED'} {check.target}: {check.found}" for check in outcome.checks]
    return "\n".join(parts) + "\n"


def save(folder: Path, name: str, where: Mapping[str, Any], outcome: Outcome) -> Path:
    """Write `NAME-DATE.json` and `.md`; gives the path of the Markdown file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{where['date']}.json"
    versions = {key: value for run in outcome.runs for key, value in run.get("versions", {}).items()}
    found = {"machine": where, "versions": versions, **asdict(outcome)}
    file.write_text(json.dumps(found, indent=1) + "\n")
    file.with_suffix(".md").write_text(_markdown(where, versions, outcome))
    return file.with_suffix(".md")


def _markdown(where: Mapping[str, Any], versions: Mapping[str, str], outcome: Outcome) -> str:
    lines = [f"# {outcome.title}", "", ", ".join(f"{name} {value}" for name, value in where.items()), ""]
    lines += [", ".join(f"{name} {value}" for name, value in sorted(versions.items())), ""]
    if outcome.table:
        names = list(outcome.table[0])
        lines += [_cells(names), _cells(["---"] * len(names))]
        lines += [_cells([str(line[name]) for name in names]) for line in outcome.table]
    if outcome.checks:
        lines += ["", _cells(["target", "found", ""]), _cells(["---"] * 3)]
        lines += [_cells([check.target, check.found, "ok" if check.held else "missed"]) for check in outcome.checks]
    return "\n".join(lines) + "\n"


def _cells(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def _aligned(table: Sequence[Mapping[str, Any]]) -> list[str]:
    if not table:
        return []
    lines = [list(table[0]), *([str(value) for value in line.values()] for line in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _line_of(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
