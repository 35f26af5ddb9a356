"""The vendor's files and batches: upload, create, find, look, download, delete."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .file import ENDPOINT
from .http import Connection, RefusedError, Unanswered, read_json

ENDED = ("completed", "failed", "expired", "cancelled")
_LABEL = "tagevol_submission"  # in the metadata of each batch
_PIECE = 1 << 20  # bytes read at once
_CLOCKS_APART = 86_400.0  # seconds between the vendor's clock and ours, at the most


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the vendor tells it.

    Attributes:
        id: The vendor's name of it.
        status: "validating", "in_progress", "finalizing", "cancelling", or one of `ENDED`.
        files: Names of its output file and its error file, those of them that it has.
        completed: Requests that are answered so far, failed ones included.
        total: Requests in it, 0 while that is not known.
        errors: Why it failed: code and message of each error.
    """

    id: str
    status: str
    files: tuple[str, ...]
    completed: int
    total: int
    errors: tuple[tuple[str, str], ...]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED


class BatchClient:
    """Calls of the batch protocol, each repeated until the vendor answers it.

    Args:
        url: Base URL without a slash at its end.
        patience: Seconds without a usable answer after which a call is given up.
        stop: Ends every wait when it is set.
    """

    def __init__(self, url: str, patience: float, stop: threading.Event) -> None:
        self._connection = Connection(url, patience, stop)
        self.sleep = self._connection.sleep

    def upload(self, path: Path, name: str) -> str:
        """Upload an input file; the vendor's name of it."""
        told = self._connection.persist(lambda: self._upload(path, name))
        return str(told.get("id"))

    def create(self, submission: str, file_id: str, window: str) -> Batch:
        """Create a batch of an uploaded file, once, also where the answer to an attempt was lost."""
        body = {
            "input_file_id": file_id,
            "endpoint": ENDPOINT,
            "completion_window": window,
            "metadata": {_LABEL: submission},
        }
        lost = False

        def attempt() -> Batch:
            nonlocal lost
            found = self._find(submission, 0.0) if lost else None
            lost = True
            return found or self._call("POST", "/batches", body)

        return self._connection.persist(attempt)

    def find(self, submission: str, made: float) -> Batch | None:
        """The batch of a submission that was noted at this Unix time, if the vendor has it."""
        return self._connection.persist(lambda: self._find(submission, made))

    def look(self, batch: str) -> Batch | None:
        """A batch as it is now; None if the vendor does not know it."""
        try:
            return self._connection.persist(lambda: self._call("GET", f"/batches/{quote(batch, safe='')}"))
        except RefusedError as fault:
            if fault.status == 404:
                return None
            raise

    def download(self, file: str, target: Path) -> bool:
        """Download a file whole; False if the vendor does not have it."""

        def receive(answer: http.client.HTTPResponse) -> None:
            with target.open("wb") as output:
                shutil.copyfileobj(answer, output, _PIECE)
                size = output.tell()
            if answer.headers.get("Content-Length", str(size)) != str(size):
                raise Unanswered("the download was cut off")

        path = f"/files/{quote(file, safe='')}/content"
        try:
            self._connection.persist(lambda: self._connection.attempt("GET", path, receive))
        except RefusedError as fault:
            if fault.status == 404:
                return False
            raise
        return True

    def delete(self, file: str) -> None:
        """Delete a file; tried once, as nothing depends on it.

        Raises:
            RefusedError: If the vendor does not allow it.
            Unanswered: If it cannot be reached.
        """
        self._connection.attempt("DELETE", f"/files/{quote(file, safe='')}", read_json)

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Batch:
        return _batch(self._json(method, path, body))

    def _json(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        return self._connection.attempt(method, path, read_json, data, {"Content-Type": "application/json"})

    def _find(self, submission: str, made: float) -> Batch | None:
        """Looks through the list of batches, which begins with the newest."""
        after = ""
        while True:
            page = self._json("GET", f"/batches?limit=100{after}")
            entries = page.get("data") or []
            for entry in entries:
                if (entry.get("metadata") or {}).get(_LABEL) == submission:
                    return _batch(entry)
            if not entries or not page.get("has_more") or _number(entries[-1], "created_at") < made - _CLOCKS_APART:
                return None
            after = f"&after={quote(str(entries[-1].get('id')), safe='')}"

    def _upload(self, path: Path, name: str) -> dict[str, Any]:
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
        }
        told = self._connection.attempt("POST", "/files", read_json, _pieces(head, path, tail), headers)
        if not told.get("id"):
            raise Unanswered("the answer to the upload names no file")
        return told


def _pieces(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
    yield tail


def _batch(told: Mapping[str, Any]) -> Batch:
    """Read a batch object.

    Raises:
        Unanswered: If it is none.
    """
    if not told.get("id") or not isinstance(told.get("status"), str):
        raise Unanswered(f"the answer is no batch: {json.dumps(told)[:200]}")
    counts = told.get("request_counts") or {}
    return Batch(
        id=str(told["id"]),
        status=told["status"],
        files=tuple(str(told[name]) for name in ("output_file_id", "error_file_id") if told.get(name)),
        completed=_number(counts, "completed") + _number(counts, "failed"),
        total=_number(counts, "total"),
        errors=tuple(_error(entry) for entry in ((told.get("errors") or {}).get("data") or [])),
    )


def _error(entry: Mapping[str, Any]) -> tuple[str, str]:
    line = f" (line {entry['line']})" if entry.get("line") is not None else ""
    return str(entry.get("code") or ""), " ".join(f"{entry.get('message') or 'no message'}{line}".split())[:300]


def _number(values: Mapping[str, Any], name: str) -> int:
    found = values.get(name)
    return int(found) if isinstance(found, (int, float)) else 0
