"""The batches of one engine that are at the vendor: sent, found again after a restart, waited for, cleared away."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from ...errors import EngineError
from ..base import Reply
from ..chat_protocol import Fault
from .client import Batch, BatchClient
from .file import read_line
from .http import RefusedError, Unanswered
from .notes import Submission, Submissions
from .settings import BatchSettings
from .spool import Spool

_LOG = logging.getLogger("tagevol_hf")
_FIRST_POLL = 1.0  # seconds; longer each time, up to the engine's `poll`
_JUST_NOW = 120.0  # seconds within which a new batch may not be in the vendor's list yet
_LIST_DELAY = 5.0


@dataclass
class Flight:
    """One batch at the vendor.

    Attributes:
        submission: What is noted of it.
        spool: Its requests that somebody of this run waits for.
        unclaimed: Requests of an earlier run in it that were not asked for in this one.
        completed: Requests that the vendor has answered; likewise `total`.
    """

    submission: Submission
    spool: Spool
    unclaimed: set[bytes] = field(default_factory=set)
    completed: int = 0
    total: int = 0


class Fleet:
    """Batches in flight.

    Args:
        client: The vendor.
        submissions: What the store remembers of them.
        settings: Intervals and limits.
        folder: For files on this machine.

    Attributes:
        flights: The batches.
        room: How many more may be sent.
    """

    def __init__(self, client: BatchClient, submissions: Submissions, settings: BatchSettings, folder: Path) -> None:
        self._client, self._submissions, self._folder = client, submissions, folder
        self._longest, self._window, self._most = settings.poll, settings.window, settings.batches
        self._pause = self._shortest = min(_FIRST_POLL, settings.poll)
        self._files = count()
        self._spools: list[Spool] = []
        self._told = ""
        self.flights: list[Flight] = []

    @property
    def room(self) -> int:
        """How many batches may be sent now."""
        return self._most - len(self.flights)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a reply of them."""
        return any(flight.spool.waiting for flight in self.flights)

    def spool(self) -> Spool:
        """An empty spool."""
        self._spools = [spool for spool in self._spools if not spool.closed]
        self._spools.append(Spool(self._folder / f"{next(self._files)}.jsonl"))
        return self._spools[-1]

    def close(self) -> None:
        """Delete the files on this machine; what is at the vendor stays."""
        for spool in self._spools:
            spool.remove()

    def recover(self) -> None:
        """Take up the batches that the store remembers."""
        for submission in self._submissions.all():
            if submission.batch_id or self._found(submission):
                self.flights.append(Flight(submission, self.spool(), submission.digests))
            else:
                self._drop(submission)
        if self.flights:
            requests = sum(len(flight.unclaimed) for flight in self.flights)
            _LOG.info("batches of an earlier run: %d with %d requests", len(self.flights), requests)

    def send(self, spool: Spool) -> None:
        """Submit what a spool holds.

        Raises:
            EngineError: If the vendor refuses it or is silent for too long.
        """
        spool.flush()
        submission = self._submissions.plan(spool.waiting)
        try:
            submission.file_id = self._client.upload(spool.path, f"tagevol-{submission.id}.jsonl")
            self._submissions.save(submission)
            submission.batch_id = self._client.create(submission.id, submission.file_id, self._window).id
        except RefusedError:
            self._drop(submission)
            raise
        self._submissions.save(submission)
        self.flights.append(Flight(submission, spool, total=len(spool.waiting)))
        self._pause = self._shortest
        _LOG.info("batch %s: %d requests, %d bytes submitted", submission.batch_id, len(spool.waiting), spool.size)

    def claim(self, digest: bytes) -> Spool | None:
        """The spool of the batch that has this request from an earlier run; from now on somebody waits for it."""
        for flight in self.flights:
            if digest in flight.unclaimed:
                flight.unclaimed.discard(digest)
                return flight.spool
        return None

    def next_ended(self) -> tuple[Flight, Batch | None]:
        """Wait until a batch has ended; None in its place if the vendor does not know it any more."""
        while (ended := self.ended()) is None:
            self._client.sleep(self._pause * random.uniform(0.8, 1.2))
            self._pause = min(self._pause * 1.5, self._longest)
        return ended

    def ended(self) -> tuple[Flight, Batch | None] | None:
        """A batch that has ended, if one has by now."""
        for flight in self.flights:
            batch = self._client.look(flight.submission.batch_id)
            if batch is None or batch.ended:
                return flight, batch
            flight.completed, flight.total = batch.completed, batch.total or flight.total
        self._tell()
        return None

    def lines(self, batch: Batch) -> Iterator[tuple[str, Reply | Fault]]:
        """The answers of a batch that has ended, one file after the other."""
        for file in batch.files:
            path = self._folder / f"{next(self._files)}.answers"
            if not self._client.download(file, path):
                _LOG.warning("batch %s: the vendor does not have its file %s any more", batch.id, file)
                continue
            with path.open("rb") as answers:
                yield from (answer for line in answers if (answer := read_line(line)) is not None)
            path.unlink()

    def clear(self, flight: Flight) -> None:
        """Forget a batch: its replies are stored, or there are none."""
        self.release(flight)
        flight.spool.remove()

    def release(self, flight: Flight) -> None:
        """As `clear`, but its spool stays."""
        self.flights.remove(flight)
        self._drop(flight.submission)

    def wait_for_room(self) -> None:
        """The vendor takes no more batches now: send the next one only when another has ended, or some time later."""
        self._most = max(1, len(self.flights))
        if not self.flights:
            self._client.sleep(self._longest * random.uniform(0.8, 1.2))

    def _found(self, submission: Submission) -> bool:
        """Look for a batch whose creation was not noted any more."""
        batch = self._client.find(submission.id, submission.made)
        if batch is None and time.time() - submission.made < _JUST_NOW:
            self._client.sleep(min(_LIST_DELAY, self._longest))
            batch = self._client.find(submission.id, submission.made)
        if batch is not None:
            submission.batch_id = batch.id
            self._submissions.save(submission)
        return batch is not None

    def _drop(self, submission: Submission) -> None:
        self._submissions.forget(submission)
        if submission.file_id:
            try:
                self._client.delete(submission.file_id)
            except (EngineError, Unanswered) as fault:
                _LOG.info("input file %s was not deleted at the vendor: %s", submission.file_id, fault)

    def _tell(self) -> None:
        completed = sum(flight.completed for flight in self.flights)
        total = sum(flight.total for flight in self.flights)
        told = f"{completed:,} of {total:,} requests completed in {len(self.flights)} batches"
        if told != self._told:
            _LOG.info("%s", told)
            self._told = told
