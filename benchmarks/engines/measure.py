"""What every client program of the engine benchmarks has: the same command line, the same clock, the same report.

    PYTHONPATH=benchmarks/engines:. python benchmarks/engines/ours.py --url http://127.0.0.1:8100/v1 --concurrency 256
        --rows /tmp/rows-10000 --folder /tmp/ours --out ours.json

A client loads its libraries and its rows, then does its work inside `with measured() as report:`. So the time
runs from the first statement that may ask a model to the moment when all rows are written as the client writes them;
start-up and imports do not count, processes that the client starts for its work do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

_SECONDS_BETWEEN_LOOKS = 0.1  # at the memory
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Given:
    """The command line of a client.

    Attributes:
        url: Base URL of the server; for a pool several, separated by commas.
        rows: Folder that `work.py` made.
        concurrency: Requests in flight at the most.
        timeout: Seconds that one request may take.
        folder: Where the client keeps what it writes; a client that can resume does so from there.
        out: File that gets the report, as JSON.
    """

    url: str
    rows: Path
    concurrency: int
    timeout: float
    folder: Path
    out: Path


def command_line(doc: str | None) -> Given:
    """Read the command line of a client."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL of the server, ends in /v1")
    parser.add_argument("--rows", type=Path, required=True, help="folder that work.py made")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that one request may take")
    parser.add_argument("--folder", type=Path, required=True, help="for what the client writes")
    parser.add_argument("--out", type=Path, required=True, help="file for the report")
    return Given(**vars(parser.parse_args()))


@dataclass
class Report:
    """What a client says of its run; `rows` and `notes` are the client's to fill.

    Attributes:
        rows: Counts of `work.judge`.
        notes: Anything else that is worth to be kept.
    """

    rows: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_anon_mb: float = 0.0

    def write(self, given: Given, *libraries: str) -> None:
        """Write the report, with the versions of these libraries."""
        versions = {name: version(name) for name in libraries}
        found = {**self.rows, "wall_s": self.wall_s, "cpu_s": self.cpu_s, "peak_rss_anon_mb": self.peak_rss_anon_mb}
        given.out.write_text(json.dumps({**found, "versions": versions, "notes": self.notes}))


@contextmanager
def measured() -> Iterator[Report]:
    """Measure the block: wall seconds, CPU seconds and peak anonymous memory of this process and its children."""
    report, peak, ended = Report(), [0], threading.Event()
    watch = threading.Thread(target=_watch_memory, args=(peak, ended), daemon=True)
    watch.start()
    begin, cpu = time.perf_counter(), _cpu_seconds()
    yield report
    report.wall_s = time.perf_counter() - begin
    report.cpu_s = _cpu_seconds() - cpu
    ended.set()
    watch.join()
    report.peak_rss_anon_mb = peak[0] / 1024


def _watch_memory(peak: list[int], ended: threading.Event) -> None:
    while not ended.is_set():
        peak[0] = max(peak[0], sum(_rss_anon_kb(process) for process in [os.getpid(), *_children(os.getpid())]))
        ended.wait(_SECONDS_BETWEEN_LOOKS)


def _cpu_seconds() -> float:
    """User and system time of this process, of its ended children, and of those that live."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    living = sum(_cpu_of(process) for process in _children(os.getpid()))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime + living


def _cpu_of(process: int) -> float:
    with suppress(OSError):
        parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in parts[11:15]) / _TICKS
    return 0.0


def _children(process: int) -> list[int]:
    """All processes that descend from one."""
    found: list[int] = []
    with suppress(OSError):
        for file in Path(f"/proc/{process}/task").glob("*/children"):
            for child in file.read_text().split():
                found += [int(child), *_children(int(child))]
    return found


def _rss_anon_kb(process: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0
