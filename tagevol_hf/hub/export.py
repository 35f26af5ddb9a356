"""A run as a data set in a folder: what a push would send, without the Hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from .layout import PROVENANCE
from .push import checked_configs
from .remote import Say, There
from .shards import SHARD_BYTES
from .staging import Before, Staging


def export_run(
    run: str | Path,
    target: str | Path,
    *,
    configs: Sequence[str] | None = None,
    store: bool = False,
    say: Say | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write a finished run as Parquet shards with its card, recipe and provenance into a folder.

    `load_dataset(folder, "selected")` reads it, `tagevol verify FOLDER` checks it. Needs no token and no network.

    Args:
        run: The run folder.
        target: The folder; one that an earlier export wrote is replaced, whole or not at all.
        configs: As of `push_run`.
        store: Also write the request store.
        say: Told what goes on, a line each.
        shard_bytes: Most bytes of a Parquet file before compression, > 0.

    Returns:
        The folder.

    Raises:
        DataError: If the run is not finished or does not hold together, a config has no rows, a row holds a key, or
            the folder holds something else or cannot be written.
    """
    path, folder, say = Path(run), Path(target), say or (lambda _: None)
    if folder.exists() and not (folder / PROVENANCE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: holds something else than an export; name a new folder")
    chosen = checked_configs(path, configs)
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tagevol-export-", dir=folder.absolute().parent) as scratch:
            fresh = Path(scratch) / "export"
            staging = Staging(path, folder.name, fresh, Before(There(), Path(scratch)), shard_bytes=shard_bytes)
            for name, rows in chosen.items():
                staging.config(name, rows, "replace")
                say(staging.made.notes[-1])
            if store:
                staging.store()
            staging.finish()
            if folder.exists():
                shutil.rmtree(folder)
            fresh.replace(folder)
    except OSError as fault:
        raise DataError(f"{folder}: cannot be written ({fault.strerror or fault}); nothing was exported") from fault
    return folder
