"""From the caller's requests to batches: what is in flight already is waited for, the rest is collected in files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

from ..base import Reply, Request, failed
from ..store import RequestStore
from .file import digest_of, line_of
from .fleet import Fleet
from .notes import Submissions
from .settings import BatchSettings
from .spool import Positions, Spool

GROUP = 1000  # replies yielded at once
_END: Literal["end"] = "end"
_QUIET = 1000  # pauses in a row; a request store pauses after so many of its own replies, though more requests follow


class Intake:
    """Takes requests and sends them when a file is full, or when there are no more for now.

    Args:
        requests: The requests; None for a pause.
        fleet: Where full files go.
        submissions: Names the response format.
        settings: Limits of a file.
        store: Where replies are that an earlier run asked for.
        model: The model's name at the vendor.
        identity: The engine's identity.

    Attributes:
        ready: Positions with replies that need no batch.
        paused: There are no requests until a group was yielded, be it an empty one.
        ended: There are no more requests.
        max_requests: Requests in a file, at the most; may be lowered.
    """

    def __init__(
        self,
        requests: Iterator[Request | None],
        fleet: Fleet,
        submissions: Submissions,
        settings: BatchSettings,
        store: RequestStore,
        model: str,
        identity: str,
    ) -> None:
        self._requests, self._fleet, self._submissions, self._store = requests, fleet, submissions, store
        self._model, self._identity = model, identity
        self.max_requests, self._max_bytes = settings.max_requests_per_file, settings.max_bytes_per_file
        self.ready: list[tuple[int, Reply]] = []
        self.paused = self.ended = False
        self._next_position = 0
        self._collecting = fleet.spool()
        self._full: deque[Spool] = deque()
        self._kept: set[bytes] = set()
        self._pauses = 0  # since the last request or reply

    @property
    def quiet(self) -> bool:
        """Whether no more requests come before some of those in flight are answered."""
        return self.ended or self._pauses >= _QUIET

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._full and not self._collecting.waiting

    def pull(self) -> None:
        """Take requests until they pause or end, or no more batches may be sent; send what is to be sent."""
        self._send_full()
        while not (self.paused or self.ended or self._full or len(self.ready) >= GROUP):
            request = next(self._requests, _END)
            if request == _END:
                self.ended = True
            elif request is None:
                self.paused = True
                self._pauses += 1
            else:
                self._pauses = 0
                self._take(self._next_position, request)
                self._next_position += 1
            self._send_full()
        if self.quiet and self._collecting.waiting and self._fleet.room > 0 and not self._full:
            self._seal()
            self._send_full()

    def resume(self, replies: int) -> None:
        """A group with so many replies is yielded now."""
        self.paused = False
        if replies:
            self._pauses = 0

    def add(self, digest: bytes, line: bytes, positions: Positions) -> None:
        """Collect a request's line."""
        spool = self._collecting
        if spool.waiting and spool.size + len(line) > self._max_bytes:
            spool = self._seal()
        spool.add(digest, line, positions)
        if len(spool.waiting) >= self.max_requests:
            self._seal()

    def put_back(self, spool: Spool) -> None:
        """Send this file again, before all others."""
        self._full.appendleft(spool)

    def keep(self, key: str, reply: Reply) -> None:
        """Store a reply that was not asked for, or not yet."""
        self._store.put(key, reply, self._identity)
        self._kept.add(digest_of(key))

    def _take(self, position: int, request: Request) -> None:
        key = request.key(self._identity)
        digest = digest_of(key)
        if digest in self._kept and (reply := self._store.get(key)) is not None:
            self.ready.append((position, reply))
            return
        spools = (self._collecting, *self._full, *(flight.spool for flight in self._fleet.flights))
        if any(spool.join(digest, position) for spool in spools):
            return
        line = self._line(request, key)
        if isinstance(line, Reply):
            self.ready.append((position, line))
        elif (spool := self._fleet.claim(digest)) is not None:
            spool.add(digest, line, (position,))
        else:
            self.add(digest, line, (position,))

    def _line(self, request: Request, key: str) -> bytes | Reply:
        """The request's line in a file, or why it has none."""
        try:
            line = line_of(request, key, self._model, self._submissions.response_format)
        except UnicodeEncodeError as fault:
            return failed("refused_request", f"the prompt is not valid Unicode: {fault.reason} at {fault.start}")
        if len(line) > self._max_bytes:
            return failed("prompt_too_long", f"the request has {len(line)} bytes; a file may have {self._max_bytes}")
        return line

    def _seal(self) -> Spool:
        """Send the file when there is room, and begin another."""
        self._full.append(self._collecting)
        self._collecting = self._fleet.spool()
        return self._collecting

    def _send_full(self) -> None:
        while self._full and self._fleet.room > 0:
            self._fleet.send(self._full.popleft())
