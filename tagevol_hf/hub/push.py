"""Publishing a run as a data set repository: all of it is made and checked here, then sent in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from ..errors import DataError
from .configs import configs_of
from .layout import CARD, CONFIGS, PROVENANCE, digests_name
from .provenance import read_provenance
from .readme_check import hidden_data
from .remote import Repository, Say, There
from .shards import SHARD_BYTES
from .staging import Before, Mode, Staged, Staging
from .verify_run import run_faults


def push_run(
    run: str | Path,
    repo: str,
    *,
    configs: Sequence[str] | None = None,
    private: bool = True,
    mode: Mode = "replace",
    store: bool = False,
    say: Say | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> str:
    """Publish a finished run: its configs as Parquet, a card, and the proof of how it was made.

    The token is that of the environment (HF_TOKEN) or of `hf auth login`. A broken push is repeated by the same call:
    what arrived is not sent again. Files, metadata and text that are not of the pushed configs stay as they are.

    Args:
        run: The run folder.
        repo: `owner/name` of the data set.
        configs: Which of "selected", "evolved", "tags", "comparisons" and "rejected"; None for all that the run has
            rows for.
        private: Who may see a repository that does not exist yet; one that exists stays as it is.
        mode: "replace" the rows of these configs, or "append" to them; rows that are there already are not added again.
        store: Also publish the request store, so that the run can be repeated without a model.
        say: Told what goes on, a line each.
        shard_bytes: Most bytes of a Parquet file before compression, > 0.

    Returns:
        The address of the repository.

    Raises:
        DataError: If the run is not finished or does not hold together, a config has no rows, a row holds a key, or
            the Hub refuses or cannot be reached. Nothing on the Hub has changed then.
    """
    path, say = Path(run), say or (lambda _: None)
    if mode not in ("replace", "append"):
        raise DataError(f'mode {mode!r}: expected "replace" or "append"')
    hub = Repository(repo)
    token = hub.need_token()
    chosen = checked_configs(path, configs)
    there = hub.look()
    with tempfile.TemporaryDirectory(prefix="tagevol-push-") as folder:
        before = _before(hub, there, Path(folder) / "before", list(chosen) if mode == "append" else [])
        staging = Staging(path, repo, Path(folder) / "push", before, token, shard_bytes)
        for name in chosen:
            staging.config(name, chosen[name], mode)
            say(staging.made.notes[-1])
        if store:
            staging.store()
        staged = staging.finish()
        _send(hub, there, staged, private, say)
    return hub.address


def checked_configs(run: Path, names: Sequence[str] | None) -> dict[str, Dataset]:
    """The configs of a run that holds together, by name.

    Args:
        run: The run folder.
        names: Which; None for all that it has rows for.

    Raises:
        DataError: If it does not hold together, a name is unknown, or there are no rows for it.
    """
    if faults := run_faults(run):
        raise DataError(f"{run}: the run does not hold together, nothing was pushed: {'; '.join(faults[:5])}")
    unknown = [name for name in names or () if name not in CONFIGS]
    if unknown:
        raise DataError(f"config {unknown[0]!r}: expected {', '.join(CONFIGS)}")
    found = configs_of(run)
    absent = [name for name in names or () if name not in found]
    if absent:
        raise DataError(f"{run}: this run has no rows for {', '.join(absent)}; it has: {', '.join(found)}")
    if not found:
        raise DataError(f"{run}: this run has no rows to publish")
    return {name: rows for name, rows in found.items() if names is None or name in names}


def _before(hub: Repository, there: There, folder: Path, appended: Sequence[str]) -> Before:
    """The files of the repository that a push needs to know."""
    wanted = [CARD, PROVENANCE, *(digests_name(name) for name in appended)]
    hub.fetch([path for path in wanted if path in there.files], there.revision, folder)
    card = (folder / CARD).read_text("utf-8") if CARD in there.files else None
    if hidden := hidden_data(card or "", there.files):
        raise DataError(
            f"{hub.name}: no config in its {CARD} names {hidden[0]}{' and others' if len(hidden) > 1 else ''}, which "
            "nobody could load any more beside configs that are named; name it there under configs, or push to another "
            "repository"
        )
    provenance = read_provenance(folder / PROVENANCE) if PROVENANCE in there.files else {}
    return Before(there, folder, provenance, card)


def _send(hub: Repository, there: There, staged: Staged, private: bool, say: Say) -> None:
    if not there.revision:
        there = hub.create(private)
    if there.private != private:
        say(
            f"{hub.name}: is {'private' if there.private else 'public'} and stays so; its settings on the Hub change it"
        )
    hub.commit(staged.files, staged.stale, there.revision, "Upload a run by tagevol", say)
