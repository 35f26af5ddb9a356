"""What the request store remembers of batches at a vendor, so that a restart finds them again."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Iterable
from typing import get_args

from ...errors import EngineError
from ..chat_protocol import ResponseFormat
from ..store import RequestStore

_DIGEST = 16  # bytes


@dataclasses.dataclass
class Submission:
    """One batch, noted from before it exists at the vendor until its replies are stored.

    Attributes:
        id: Our own name of it, which also stands in the batch's metadata.
        response_format: What its requests ask for.
        keys: Digests of its requests, 16 bytes each, in one text of base64.
        made: Unix time at which it was noted.
        file_id: The vendor's name of its input file; empty before the upload.
        batch_id: The vendor's name of the batch; empty before it was created, or if that is not known.
    """

    id: str
    response_format: ResponseFormat
    keys: str
    made: float
    file_id: str = ""
    batch_id: str = ""

    @property
    def digests(self) -> set[bytes]:
        """Its requests."""
        packed = base64.b64decode(self.keys)
        return {packed[start : start + _DIGEST] for start in range(0, len(packed), _DIGEST)}


class Submissions:
    """The submissions to one model of one vendor, as notes of a request store.

    Args:
        store: Where they are noted.
        url: The vendor.
        model: The model's name there.
    """

    def __init__(self, store: RequestStore, url: str, model: str) -> None:
        self._store = store
        self._format: ResponseFormat | None = None
        self.scope = hashlib.sha256(f"{url}\n{model}".encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def plan(self, digests: Iterable[bytes]) -> Submission:
        """A new submission, not noted yet."""
        keys = base64.b64encode(b"".join(digests)).decode()
        return Submission(uuid.uuid4().hex, self.response_format, keys, time.time())

    def save(self, submission: Submission) -> None:
        """Note what is known of it now."""
        self._store.set_note(self._name(submission.id), json.dumps(dataclasses.asdict(submission)))

    def forget(self, submission: Submission) -> None:
        """Nothing is to be got from it any more."""
        self._store.set_note(self._name(submission.id), None)

    def all(self) -> list[Submission]:
        """Every submission that is noted, the oldest first.

        Raises:
            EngineError: If a note is of another version.
        """
        try:
            notes = self._store.notes(self._name("")).values()
            return sorted((Submission(**json.loads(text)) for text in notes), key=lambda one: one.made)
        except (ValueError, TypeError) as fault:
            raise EngineError(
                f"store {self._store.path}: a note of a batch cannot be read ({fault}); use the version of tagevol_hf "
                "that wrote it, or another store"
            ) from None

    @property
    def response_format(self) -> ResponseFormat:
        """The strongest response format that the vendor is not known to refuse for this model."""
        if self._format is not None:
            return self._format
        noted = self._store.note(f"batch-format/{self.scope}")
        forms: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
        known = next((form for form in forms if form == noted), forms[0])
        self._format = known
        return known

    @response_format.setter
    def response_format(self, response_format: ResponseFormat) -> None:
        self._format = response_format
        self._store.set_note(f"batch-format/{self.scope}", response_format)

    def _name(self, submission: str) -> str:
        return f"batch/{self.scope}/{submission}"
