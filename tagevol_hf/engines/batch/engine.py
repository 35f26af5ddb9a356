"""A vendor's batch API: OpenAI's `/v1/batches` protocol, answers within hours at about half the price."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import filelock

from ...errors import EngineError
from ..base import Reply, Request, one_by_one
from ..identity import model_identity
from ..spec import split_address
from ..store import RequestStore
from .client import BatchClient
from .fleet import Fleet
from .intake import Intake
from .notes import Submissions
from .run import BatchRun
from .settings import BatchSettings

_LOG = logging.getLogger("tagevol_hf")
_DEFAULTS = BatchSettings()


class BatchEngine:
    """Chat completions by a vendor's batches; a run that is stopped finds its batches again.

    Requests are collected until they pause or end, or a file is full; then they are submitted. Each submission is
    noted in the request store before it is made, so that a later run with the same store waits for it in place of
    asking again. Only one run at a time may wait for the batches of a store, a vendor and a model.

    The key is read from `TAGEVOL_API_KEY`, else `OPENAI_API_KEY`, when requests are asked, and kept nowhere else.

    Args:
        url: Base URL of the vendor; ends in `/v1` as a rule.
        model: The model's name there.
        store: Where submissions are noted, and replies kept that nobody asks for any more; None for a temporary one,
            with which no later run finds them.
        settings: Intervals and limits.

    Raises:
        EngineError: If the URL is not valid.
    """

    def __init__(
        self, url: str, model: str, *, store: RequestStore | None = None, settings: BatchSettings = _DEFAULTS
    ) -> None:
        self._url, self._model, self._settings = _checked(url), model, settings
        self._kept = store is not None
        self._store = RequestStore.temporary() if store is None else store
        self._stops: set[threading.Event] = set()

    @classmethod
    def from_spec(cls, spec: str, *, store: RequestStore | None = None) -> BatchEngine:
        """The engine of `URL[?option=value&…]#MODEL`, the options being fields of `BatchSettings`.

        They may also stand behind the model.

        Raises:
            EngineError: If the spec cannot be read.
        """
        url, model, options = split_address(spec)
        if not model:
            raise EngineError(f"engine 'batch:{url}': no model is named; expected batch:{url}#MODEL")
        return cls(url, model, store=store, settings=BatchSettings.read(f"batch:{url}", options))

    def __reduce__(self) -> tuple[Callable[[], BatchEngine], tuple[()]]:
        return partial(_reopened, self._url, self._model, self._store.path if self._kept else None, self._settings), ()

    @property
    def identity(self) -> str:
        """As `ServerEngine.identity`, so that replies of both serve each other."""
        name = self._model
        return model_identity(name) if Path(name).is_absolute() and Path(name).is_dir() else name

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`. Closing the iterator leaves the submitted batches at the vendor."""
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Iterator[list[tuple[int, Reply]]]:
        """As `SteadyEngine.arrivals`: the replies of a batch when it is complete, about 1,000 in a group.

        As a batch takes hours, requests that pause are not submitted at once: empty groups are given, and more requests
        pulled, until it is plain that no more come before replies do.

        Raises:
            EngineError: If the vendor refuses or stays silent, if a batch fails or is cancelled there, or if another
                run waits for the same batches.
        """
        submissions = Submissions(self._store, self._url, self._model)
        stop = threading.Event()
        with self._folder(submissions) as folder:
            client = BatchClient(self._url, self._settings.patience, stop)
            fleet = Fleet(client, submissions, self._settings, folder)
            intake = Intake(requests, fleet, submissions, self._settings, self._store, self._model, self.identity)
            self._stops.add(stop)
            try:
                yield from BatchRun(intake, fleet, submissions, self._label).groups()
            finally:
                self._stops.discard(stop)
                fleet.close()
                self._tell_what_goes_on(submissions)

    def close(self) -> None:
        """End every wait; submitted batches go on. Safe to call twice; a later `stream` takes them up again."""
        for stop in tuple(self._stops):
            stop.set()

    @property
    def _label(self) -> str:
        return f"batch:{self._url}#{self._model}"

    @contextmanager
    def _folder(self, submissions: Submissions) -> Iterator[Path]:
        """A folder beside the store for the files of this run alone; what a run that was killed left there goes."""
        path = self._store.path
        folder = path.with_name(f"{path.name}.batch-{submissions.scope}")
        lock = filelock.FileLock(f"{folder}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise EngineError(
                f"{self._label}: another run waits for the batches of store {path}; end it, or wait for it"
            ) from None
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()

    def _tell_what_goes_on(self, submissions: Submissions) -> None:
        batches = sum(bool(submission.file_id) for submission in submissions.all())
        if not batches:
            return
        advice = "the same command with the same store collects them, nothing is lost"
        if not self._kept:
            advice = "without a store no later run finds them"
        _LOG.warning("%s: batches that go on at the vendor: %d; %s", self._label, batches, advice)


def _reopened(url: str, model: str, store: Path | None, settings: BatchSettings) -> BatchEngine:
    return BatchEngine(url, model, store=None if store is None else RequestStore(store), settings=settings)


def _checked(url: str) -> str:
    """A base URL without a slash at its end.

    Raises:
        EngineError: If it is not an HTTP URL, or holds a password.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise EngineError(f"vendor {parts.hostname}: a key is not given here; set TAGEVOL_API_KEY in the environment")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(f"engine 'batch:{url}': expected batch:https://HOST/v1#MODEL")
    return url.rstrip("/")
