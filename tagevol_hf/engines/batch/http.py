"""HTTP to a vendor, one call at a time in the caller's thread: retries, patience, and a key that is never shown."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from ...errors import EngineError
from ..chat_protocol import Fault, read_answer

_LOG = logging.getLogger("tagevol_hf")
_KEYS = ("TAGEVOL_API_KEY", "OPENAI_API_KEY")
_SILENCE_SECONDS = 120.0  # after which a connection that says nothing is given up
_GRACE_SECONDS = 30.0  # how long a vendor that never answered may stay silent
_LONGEST_WAIT = 60.0

Result = TypeVar("Result")
Receive = Callable[[http.client.HTTPResponse], Result]


class RefusedError(EngineError):
    """The vendor refused a call, and would refuse it again.

    Args:
        status: The HTTP status.
        message: The error in one line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unanswered(Exception):  # noqa: N818 - never leaves the engine
    """One attempt failed in a way that may pass; `wait` is what the vendor asked for, in seconds."""

    def __init__(self, detail: str, wait: float = 0.0) -> None:
        super().__init__(detail)
        self.detail, self.wait = detail, wait


class Connection:
    """A vendor's base URL with the key of the environment.

    Args:
        url: Base URL without a slash at its end.
        patience: Seconds without a usable answer after which a call is given up.
        stop: Ends every wait when it is set.

    Raises:
        EngineError: If the key would travel unencrypted.
    """

    def __init__(self, url: str, patience: float, stop: threading.Event) -> None:
        self.url, self._patience, self._stop = url, patience, stop
        self._key = next((os.environ[name].strip() for name in _KEYS if os.environ.get(name, "").strip()), "")
        if not (self._key.isascii() and self._key.isprintable()):
            raise EngineError(f"{url}: the key in the environment has characters that no key has; set it again")
        local = _is_loopback(url)
        if self._key and urlsplit(url).scheme != "https" and not local:
            raise EngineError(f"{url}: the key would travel unencrypted; use https://, or unset {' and '.join(_KEYS)}")
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
        self._reached = False

    def persist(self, attempt: Callable[[], Result]) -> Result:
        """The result of the first attempt that the vendor answers; waits longer after each that it does not.

        Raises:
            EngineError: If it refuses, or stays silent for longer than the patience.
        """
        began, tries = time.monotonic(), 0
        while True:
            try:
                return attempt()
            except Unanswered as fault:
                detail, wait = fault.detail, fault.wait
            pause = max(min(_LONGEST_WAIT, 0.5 * 2**tries) * random.uniform(0.5, 1.5), wait)
            patience = self._patience if self._reached else min(self._patience, _GRACE_SECONDS)
            if time.monotonic() + pause - began > patience:
                raise EngineError(
                    f"{self.url}: no usable answer for {time.monotonic() - began:.0f} s ({detail}); submitted batches "
                    "go on there: run the same command later, it picks them up"
                )
            tries += 1
            _LOG.info("%s: %s; trying again in %.1f s", self.url, detail, pause)
            self.sleep(pause)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the engine is closed.

        Raises:
            EngineError: If it is.
        """
        if self._stop.wait(seconds):
            raise EngineError(f"{self.url}: the engine was closed while it was answering; submitted batches go on")

    def attempt(
        self,
        method: str,
        path: str,
        receive: Receive[Result],
        data: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Result:
        """One call.

        Raises:
            RefusedError: If trying again is of no use.
            Unanswered: If it may be.
        """
        request = urllib.request.Request(f"{self.url}{path}", data, dict(headers or {}), method=method)  # noqa: S310 - of our own scheme
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=_SILENCE_SECONDS) as answer:
                result = receive(answer)
        except urllib.error.HTTPError as fault:
            raise self._told(path, fault) from None
        except (OSError, http.client.HTTPException) as fault:
            raise self._broken(fault) from None
        self._reached = True
        return result

    def _told(self, path: str, answer: urllib.error.HTTPError) -> Exception:
        """What an HTTP error means."""
        self._reached = True
        with answer:
            try:
                text = answer.read(100_000).decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                text = ""
        outcome = read_answer(answer.code, text, answer.headers.get("Retry-After"))
        detail = self._without_key(outcome.detail)
        if isinstance(outcome, Fault) and outcome.kind in ("retry", "busy"):
            return Unanswered(detail, outcome.wait)
        hint = "does the URL end in /v1, and has the vendor a batch API?"
        if answer.code in (401, 403):
            hint = f"set {_KEYS[0]} (or {_KEYS[1]}) to a valid key"
        elif answer.code not in (404, 405):
            hint = "change what it says, then run the same command"
        return RefusedError(answer.code, f"{self.url}{path}: {detail}; {hint}")

    def _broken(self, fault: BaseException) -> Exception:
        reason = getattr(fault, "reason", None)
        cause = reason if isinstance(reason, BaseException) else fault
        detail = self._without_key(" ".join(str(cause).split())[:300] or type(cause).__name__)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return EngineError(
                f"{self.url}: no room for a download ({detail}); free some disk space, then run it again"
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RefusedError(0, f"{self.url}: the server's certificate is not trusted: {detail}")
        return Unanswered(f"the connection failed: {detail}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def read_json(answer: http.client.HTTPResponse) -> dict[str, object]:
    """The JSON object in an answer.

    Raises:
        Unanswered: If there is none.
    """
    text = answer.read()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unanswered(f"the answer is no JSON object: {text[:200].decode('utf-8', 'replace')!r}")
    return found


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
