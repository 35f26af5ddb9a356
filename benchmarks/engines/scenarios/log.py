"""The server's log of single requests and answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """A line of the log.

    Attributes:
        kind: "asked" or "answered".
        at: Seconds of the machine's monotonic clock.
        row: The row's mark.
        digest: Of the whole request.
    """

    kind: str
    at: float
    row: str
    digest: str


def read_log(file: Path) -> list[Event]:
    """All events so far, in order."""
    return [Event(*json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
