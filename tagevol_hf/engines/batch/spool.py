"""Requests collected for one batch: their lines in a file, and who waits for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import EngineError
from .file import digest_in, has_format

Positions = tuple[int, ...]


class Spool:
    """The input file of one batch on this machine's disk; memory holds 16 bytes and the positions of each request.

    Args:
        path: The file; made new.

    Attributes:
        waiting: Positions that wait for the reply to each request, by the request's digest.
        size: Bytes of the file.
        asks_json: How many of its requests ask for a response format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: dict[bytes, Positions] = {}
        self.size = self.asks_json = 0
        self._file = path.open("wb")

    def add(self, digest: bytes, line: bytes, positions: Positions) -> None:
        """Add a request that is not there yet."""
        with _room_on_disk(self.path):
            self._file.write(line)
        self.size += len(line)
        self.asks_json += has_format(line)
        self.waiting[digest] = positions

    def join(self, digest: bytes, position: int) -> bool:
        """Have one more position wait for a request; False if it is not there."""
        if digest not in self.waiting:
            return False
        self.waiting[digest] += (position,)
        return True

    def flush(self) -> None:
        """Write what is held back to the file."""
        with _room_on_disk(self.path):
            self._file.flush()

    def left(self) -> Iterator[tuple[bytes, bytes]]:
        """Digest and line of each request that still waits; taking one out of `waiting` meanwhile is allowed."""
        self.flush()
        with self.path.open("rb") as file:
            for line in file:
                if (digest := digest_in(line)) in self.waiting:
                    yield digest, line

    @property
    def closed(self) -> bool:
        """Whether it was removed."""
        return self._file.closed

    def remove(self) -> None:
        """Delete the file."""
        with suppress(OSError):  # what is held back need not be written
            self._file.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def _room_on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise EngineError(
            f"{path}: {fault.strerror}; free some disk space there, then run the same command: submitted batches go on"
        ) from None
