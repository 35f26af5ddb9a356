"""A data set repository on the Hub: what is there, one commit to it, and the Hub's errors in clear words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from ..errors import DataError
from ..training.card_text import scrub
from .layout import megabytes

STALL_SECONDS = 120.0  # without a byte moved, after which a request is given up
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_KIND = "dataset"
_AT_ONCE, _BYTES_AT_ONCE = 8, 64 * 2**20  # files and bytes that are uploaded between two words about it
Say = Callable[[str], None]


@dataclass(frozen=True)
class There:
    """What a repository holds.

    Attributes:
        revision: Its newest commit; empty where there is no repository.
        private: Whether only its owners see it.
        files: Paths in it.
    """

    revision: str = ""
    private: bool = True
    files: frozenset[str] = field(default_factory=frozenset)


class Repository:
    """A data set repository; reads are of one commit.

    Args:
        name: `owner/name`.
        stall: Seconds after which a request on which no byte moves is given up.

    Raises:
        DataError: If the name is not valid.
    """

    def __init__(self, name: str, stall: float | None = None) -> None:
        if not _REPO.fullmatch(name):
            raise DataError(f"{name!r}: expected a repository as owner/name")
        self.name, self._stall = name, stall or STALL_SECONDS
        self._api = HfApi()

    @property
    def address(self) -> str:
        """Where people see it."""
        return f"{self._api.endpoint}/datasets/{self.name}"

    def need_token(self) -> str:
        """The token of the environment or of `hf auth login`.

        Raises:
            DataError: If there is none.
        """
        token = get_token()
        if not token:
            raise DataError(
                f"{self.name}: no token for the Hub; make one that may write at https://huggingface.co/settings/tokens,"
                " then: hf auth login (or set HF_TOKEN)"
            )
        return token

    def look(self, revision: str | None = None) -> There:
        """What is there: at a commit, by default now.

        Raises:
            DataError: If the Hub cannot be reached or refuses, or a model has this name.
        """
        with self._clear():
            try:
                info = self._api.dataset_info(self.name, revision=revision)
            except RepositoryNotFoundError as fault:
                if _status(fault) == 404 and self._is_a_model():
                    raise DataError(f"{self.name}: is a model; name another repository for the data set") from None
                return There()
        files = frozenset(sibling.rfilename for sibling in info.siblings or ())
        return There(info.sha or "", bool(info.private), files)

    def fetch(self, paths: Sequence[str], revision: str, folder: Path, say: Say | None = None) -> Path:
        """Download files of a commit into a folder.

        Raises:
            DataError: If the Hub cannot be reached or refuses.
        """
        for number, path in enumerate(paths, 1):
            with self._clear():
                self._api.hf_hub_download(self.name, path, repo_type=_KIND, revision=revision, local_dir=folder)
            if say is not None:
                say(f"{path}: downloaded ({number} of {len(paths)})")
        return folder

    def create(self, private: bool) -> There:
        """Make the repository.

        Raises:
            DataError: If the Hub cannot be reached or refuses.
        """
        with self._clear():
            self._api.create_repo(self.name, repo_type=_KIND, private=private, exist_ok=True)
        return self.look()

    def commit(
        self, files: Mapping[str, Path], stale: Sequence[str], parent: str, message: str, say: Say | None = None
    ) -> None:
        """Upload files, then put all of them in the repository and take stale ones away, in one commit.

        What arrived stays at the Hub, so that a repeated call sends only the rest.

        Args:
            files: Path in the repository → file.
            stale: Paths to take away.
            parent: The commit that this one follows; another in between is an error.
            message: Of the commit.
            say: Told what goes on.

        Raises:
            DataError: If the Hub cannot be reached or refuses; then nothing in the repository has changed.
        """
        adds = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
        with self._clear():
            self._upload(adds, say)
            self._api.create_commit(
                self.name,
                [*adds, *(CommitOperationDelete(path) for path in stale)],
                commit_message=message,
                repo_type=_KIND,
                parent_commit=parent or None,
            )

    def _upload(self, adds: Sequence[CommitOperationAdd], say: Say | None) -> None:
        """The large files, some at a time, so that a slow line shows; small ones go with the commit."""
        large = [add for add in adds if add.path_in_repo.endswith((".parquet", ".sqlite", ".txt"))]
        total = sum(add.upload_info.size for add in large)
        done = 0
        for group in _groups(large):
            self._api.preupload_lfs_files(self.name, group, repo_type=_KIND, free_memory=False)
            done += sum(add.upload_info.size for add in group)
            if say is not None:
                number = large.index(group[-1]) + 1
                say(f"uploaded {number} of {len(large)} files, {megabytes(done)} of {megabytes(total)}")

    def _is_a_model(self) -> bool:
        try:
            self._api.model_info(self.name)
        except HfHubHTTPError:
            return False
        return True

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """Errors of the Hub, its client and the network as errors of ours; no request hangs for ever."""
        session: Any = get_session()
        before = getattr(session, "timeout", None)
        if hasattr(session, "timeout"):  # else huggingface_hub < 1.0, which has limits of its own
            session.timeout = self._stall
        try:
            with _quiet():
                yield
        except DataError:
            raise
        except Exception as fault:
            raise DataError(self._told(fault)) from None
        finally:
            if hasattr(session, "timeout"):
                session.timeout = before

    def _told(self, fault: BaseException) -> str:
        chain = list(_causes(fault))
        status = next((code for one in chain if (code := _status(one))), 0)
        detail = scrub(" ".join(str(chain[-1] if status == 0 else fault).split())[:300])
        kinds = " ".join(type(one).__name__ for one in chain)
        place = f"{self.name} at {scrub(self._api.endpoint)}"
        if status in (401, 403):
            return f"{place}: the Hub refuses (HTTP {status}); {_REFUSED[status]}"
        if status == 404:
            return f"{place}: there is no such data set, or your token may not see it; look at the name, or: {_LOGIN}"
        if status in (409, 412):
            return f"{place}: somebody else pushed at the same time; nothing was changed; {_AGAIN}"
        if "Timeout" in kinds:
            return f"{place}: no answer for {self._stall:g} seconds; the line is slow or the Hub busy; {_GOES_ON}"
        if isinstance(fault, OfflineModeIsEnabled):
            return f"{place}: HF_HUB_OFFLINE is set; unset it, then run the same command again"
        if status:
            return f"{place}: the Hub answered HTTP {status} ({detail}); {_GOES_ON}"
        return f"{place}: the Hub cannot be reached ({detail or kinds}); look at the network, then {_GOES_ON}"


_LOGIN = "hf auth login"
_AGAIN = "run the same command again"
_GOES_ON = f"{_AGAIN}: it goes on with what is missing"
_REFUSED = {
    401: f"the token is not valid, or the data set is private; make another one, then: {_LOGIN}",
    403: "the repository is somebody else's, or the token may only read; take a name of your own or a token that may "
    "write; nothing was changed",
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's progress bars: `say` tells what goes on."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _groups(adds: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    group: list[CommitOperationAdd] = []
    for add in adds:
        group.append(add)
        if len(group) == _AT_ONCE or sum(one.upload_info.size for one in group) >= _BYTES_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__


def _status(fault: BaseException) -> int:
    return int(getattr(getattr(fault, "response", None), "status_code", 0) or 0)
