"""What one of several jobs asks of an engine; the others ask the rest, each into a store of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError
from .base import Reply, Request
from .store import FORMAT, RequestStore, format_of


class Withheld(Exception):  # noqa: N818 - not an error: the job has done its part
    """A pass needs replies that other jobs ask for; what this one may ask is in its store."""


def everything(request: Request) -> bool:
    """A rule under which every request may be asked."""
    return True


@dataclass
class Part:
    """The part of one job.

    Attributes:
        name: As the user knows it, "3/16".
        run: The folder of the whole run.
        base: Store with what all jobs asked before; it is only read. None where there is none yet.
        asks: Whether a request that no store has may be asked here. For any that may not, the pass ends with `Withheld`
            when the others are answered; a rule that raises it ends the pass at once.
        failed: Replies with an error by request key, also of other jobs: no store keeps them, nobody waits for them.
    """

    name: str
    run: Path
    base: Path | None = None
    asks: Callable[[Request], bool] = everything
    failed: dict[str, Reply] = field(default_factory=dict)


class FinishedStore(RequestStore):
    """A store that nobody writes meanwhile, and that is only read; its folder need not be writable."""

    def _open(self) -> sqlite3.Connection:
        log = self.path.with_name(self.path.name + "-wal")
        # of a process that was killed: its newest replies are in the log alone
        mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        found = format_of(connection)
        if found != FORMAT:
            connection.close()
            raise EngineError(f"store {self.path}: written by another version of tagevol_hf (format {found})")
        return connection
