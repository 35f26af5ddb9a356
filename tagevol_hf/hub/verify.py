"""Whether a run folder or a published data set is what it says: recomputed, with the place of each fault."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import DataError
from .layout import PROVENANCE
from .provenance import read_provenance
from .remote import Repository, Say
from .verify_data import folder_faults, needed_files
from .verify_run import run_faults


def verify(where: str | Path, *, revision: str | None = None, say: Say | None = None) -> list[str]:
    """Recompute counts and digests from the data and the recipe.

    Args:
        where: A run folder, a folder with a published data set (a clone of its repository), or `owner/name`.
        revision: Which commit of a repository; None for the newest.
        say: Told what goes on, a line each.

    Returns:
        The faults, each with its place; empty if all fits.

    Raises:
        DataError: If there is nothing to verify at that place, or the Hub cannot be reached.
    """
    folder = Path(where).expanduser()
    if (folder / "run.json").is_file():
        return run_faults(folder)
    if (folder / PROVENANCE).is_file():
        return folder_faults(folder)
    if folder.exists() or str(where).count("/") != 1 or str(where).startswith((".", "/", "~")):
        raise DataError(
            f"{where}: nothing to verify; expected a run folder (with run.json), a copy of a published data set (with "
            f"{PROVENANCE}) or a repository as owner/name"
        )
    return _on_the_hub(str(where), revision, say)


def _on_the_hub(name: str, revision: str | None, say: Say | None) -> list[str]:
    hub = Repository(name)
    there = hub.look(revision)
    if not there.revision:
        raise DataError(f"{name}: there is no such folder, and no such data set on the Hub that your token may see")
    if PROVENANCE not in there.files:
        return [f"{PROVENANCE}: missing; was this data set pushed by tagevol push?"]
    with tempfile.TemporaryDirectory(prefix="tagevol-verify-") as copy:
        folder = Path(copy)
        hub.fetch([PROVENANCE], there.revision, folder)
        try:
            needed = needed_files(read_provenance(folder / PROVENANCE))
        except (DataError, KeyError, TypeError, AttributeError) as fault:
            return [f"{PROVENANCE}: cannot be used ({fault})"]
        hub.fetch([path for path in needed if path in there.files], there.revision, folder, say)
        return folder_faults(folder, sorted(there.files))
