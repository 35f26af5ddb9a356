"""One flow of requests through a vendor's batches: what becomes of each batch, and of each request in it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

from ...errors import EngineError
from ..base import Reply, failed
from ..chat_protocol import WEAKER, Fault
from .client import Batch
from .file import digest_of, has_format, with_format
from .fleet import Fleet, Flight
from .intake import GROUP, Intake
from .notes import Submissions

_LOG = logging.getLogger("tagevol_hf")
_TRIES = 4  # batches that a request is put into, at the most
_SMALLER = 10  # how often files are made smaller before the vendor's limit counts as too small for any
_TOO_MUCH = "token_limit_exceeded"  # of the tokens that may wait at the vendor

Group = list[tuple[int, Reply]]


class BatchRun:
    """Sends the requests of an intake and gives their replies, batch by batch.

    Args:
        intake: The requests.
        fleet: The batches.
        submissions: Remembers which response format the vendor takes.
        label: Names the engine in messages.
    """

    def __init__(self, intake: Intake, fleet: Fleet, submissions: Submissions, label: str) -> None:
        self._intake, self._fleet, self._submissions = intake, fleet, submissions
        self._label = label
        self._tries: Counter[bytes] = Counter()
        self._refused = 0  # batches in a row that were too much for the vendor
        self._replied = False  # some request was answered
        self._format_works = False
        self._error: EngineError | None = None

    def groups(self) -> Iterator[Group]:
        """As `SteadyEngine.arrivals`; a group is empty also where requests pause that are not submitted yet.

        Raises:
            EngineError: If the vendor refuses, stays silent, or a batch fails or is cancelled there.
        """
        intake = self._intake
        self._fleet.recover()
        while True:
            intake.pull()
            idle = intake.empty and not self._fleet.awaited
            if intake.ready:
                yield self._group(intake.ready)
                intake.ready = []
            elif intake.ended and idle:
                break
            elif intake.paused and (idle or not intake.quiet):
                yield self._group([])
            else:
                yield from self._ended(*self._fleet.next_ended())
        while (ended := self._fleet.ended()) is not None:  # of an earlier run; nobody asked for them in this one
            yield from self._ended(*ended)

    def _ended(self, flight: Flight, batch: Batch | None) -> Iterator[Group]:
        if batch is None:
            _LOG.warning("batch %s: the vendor does not know it any more", flight.submission.batch_id)
        if batch is not None and batch.status == "failed":
            self._failed(flight, batch)
        else:
            yield from self._answers(flight, batch)

    def _answers(self, flight: Flight, batch: Batch | None) -> Iterator[Group]:
        faults: dict[bytes, Fault] = {}
        group: Group = []
        errors = 0
        for key, outcome in self._fleet.lines(batch) if batch is not None else ():
            if isinstance(outcome, Fault):
                faults.setdefault(digest_of(key), outcome)
                continue
            answered = self._answered(flight, key, outcome)
            errors += bool(answered) and outcome.finish_reason == "error"
            group += answered
            if len(group) >= GROUP:
                yield self._group(group)
                group = []
        self._note_format(flight, errors)
        group += self._left(flight, batch, faults)
        for start in range(0, len(group), GROUP):
            yield self._group(group[start : start + GROUP])
        self._fleet.clear(flight)
        if self._error is not None:
            raise self._error

    def _group(self, group: Group) -> Group:
        self._intake.resume(len(group))
        return group

    def _answered(self, flight: Flight, key: str, reply: Reply) -> Group:
        digest = digest_of(key)
        if digest in flight.unclaimed and reply.finish_reason != "error":
            flight.unclaimed.discard(digest)
            self._intake.keep(key, reply)
        positions = flight.spool.waiting.pop(digest, ())
        self._replied |= bool(positions) and reply.finish_reason != "error"
        self._refused = 0
        return [(position, reply) for position in positions]

    def _left(self, flight: Flight, batch: Batch | None, faults: dict[bytes, Fault]) -> Group:
        """What becomes of the requests that have no reply: asked again, or given up."""
        waiting = flight.spool.waiting
        if not waiting:
            return []
        name = flight.submission.batch_id
        if batch is not None and batch.status == "cancelled":
            self._error = EngineError(
                f"{self._label}: batch {name} was cancelled at the vendor; what it had answered is kept, run the same "
                f"command to submit the other {len(waiting):,} requests again"
            )
            return []
        refused = next(
            (fault for digest, fault in faults.items() if digest in waiting and fault.kind == "format"), None
        )
        if refused is not None:
            self._weaken(flight, refused.detail)
        missing = _missing(batch)
        _LOG.warning(
            "batch %s: %d requests without a reply; one of them: %s",
            name,
            len(waiting),
            next((fault.detail for digest, fault in faults.items() if digest in waiting), missing.detail),
        )
        group: Group = []
        for digest, line in flight.spool.left():
            positions = waiting.pop(digest)
            reply = self._verdict(digest, line, faults.get(digest, missing))
            if reply is None:
                self._intake.add(digest, with_format(line, self._submissions.response_format), positions)
            else:
                group += [(position, reply) for position in positions]
        return group

    def _verdict(self, digest: bytes, line: bytes, fault: Fault) -> Reply | None:
        """The reply with an error that a request gets, or None if it is to be asked again."""
        if fault.kind == "fatal":
            self._error = self._error or EngineError(
                f"{self._label}: {fault.detail}; set that right, then run the same command: what was answered is kept"
            )
            return None
        if fault.kind == "format":
            weaker = with_format(line, self._submissions.response_format) != line
            return None if weaker else failed("refused_request", fault.detail)
        self._tries[digest] += 1
        if self._tries[digest] < _TRIES:
            return None
        if not self._replied:
            self._error = self._error or EngineError(
                f"{self._label}: no request was ever answered; the last of {_TRIES} tries: {fault.detail}"
            )
        reason = "timeout" if fault.kind == "timeout" else "refused_request"
        return failed(reason, f"{fault.detail}, {_TRIES} times")

    def _failed(self, flight: Flight, batch: Batch) -> None:
        """A batch that the vendor did not take."""
        told = "; ".join(f"{code}: {message}" if code else message for code, message in batch.errors[:3])
        if not flight.spool.waiting:
            self._fleet.clear(flight)
        elif any(code == _TOO_MUCH for code, _ in batch.errors) and self._refused < _SMALLER:
            self._postpone(flight, told)
        else:
            self._fleet.clear(flight)
            raise EngineError(
                f"{self._label}: batch {batch.id} failed: {told or 'the vendor gave no reason'}; nothing of it was "
                "asked: change what it says, then run the same command"
            )

    def _postpone(self, flight: Flight, told: str) -> None:
        """The vendor has too many tokens waiting: send the batch later, and a smaller one if there is no other."""
        _LOG.warning("%s: %s; going on when there is room", self._label, told)
        self._fleet.release(flight)
        spool = flight.spool
        if self._fleet.flights:
            self._intake.put_back(spool)
        else:
            self._refused += 1
            self._intake.max_requests = max(1, len(spool.waiting) // 2)
            for digest, line in spool.left():
                self._intake.add(digest, line, spool.waiting[digest])
            spool.remove()
        self._fleet.wait_for_room()

    def _note_format(self, flight: Flight, errors: int) -> None:
        """Whether the response format is known to work, by the replies of a batch."""
        if flight.submission.response_format == self._submissions.response_format:
            left = sum(has_format(line) for _, line in flight.spool.left()) if flight.spool.waiting else 0
            self._format_works |= flight.spool.asks_json - left > errors

    def _weaken(self, flight: Flight, detail: str) -> None:
        """Fall back to a weaker response format, once for all requests."""
        form = self._submissions.response_format
        if self._format_works or flight.submission.response_format != form or form not in WEAKER:
            return
        self._submissions.response_format = WEAKER[form]
        self._format_works = False
        _LOG.warning(
            "the vendor refuses response_format %s (%s); going on with %s: replies may not match their schema",
            form,
            detail,
            WEAKER[form],
        )


def _missing(batch: Batch | None) -> Fault:
    """What is wrong with a request of which a batch says nothing."""
    if batch is not None and batch.status == "expired":
        return Fault("timeout", "the batch expired before it was answered")
    return Fault("retry", "the batch's files have no answer to it")
