"""The processes of one training: they must read the same rows in the same order, and all must end."""

from __future__ import annotations

import gc
import hashlib
from typing import Any

from datasets import Dataset

from ..errors import DataError, MissingExtraError


def check_same_data(encoded: Dataset) -> list[str]:
    """Compare what the processes of this training are about to train on.

    Args:
        encoded: Columns `input_ids` and `labels`.

    Returns:
        The digest of each process, by rank; all are equal.

    Raises:
        DataError: If a process has other rows than the first one; each of them raises it.
        MissingExtraError: If accelerate is not installed.
    """
    try:
        from accelerate.utils import gather_object
    except ImportError as error:
        raise MissingExtraError(error.name or "accelerate", "train") from error
    digests: list[str] = gather_object([_digest(encoded)])
    for rank, digest in enumerate(digests):
        if digest != digests[0]:
            raise DataError(
                f"rank {rank} reads other rows than rank 0; give all nodes the same files (a shared folder or a Hub "
                "data set with its revision), and the same versions of this package"
            )
    return digests


def leave(trainer: Any) -> None:
    """Close trackers and leave the process group; the trainer is of no use after it.

    The wrapper that averages gradients goes first. Were it the last to hold the group, it would close it with Python's
    lock in hand, and wait for ever for a thread of the group that needs the lock (torch 2.13, gloo).
    """
    trainer.model_wrapped = trainer.callback_handler.model = trainer.model
    trainer.accelerator.free_memory()
    gc.collect()
    trainer.accelerator.end_training()


def _digest(encoded: Dataset) -> str:
    """SHA-256 of all token ids and labels, in order."""
    digest = hashlib.sha256()
    for batch in encoded.select_columns(["input_ids", "labels"]).with_format("arrow").iter(1000):
        for name in ("input_ids", "labels"):
            column = batch[name].combine_chunks()
            digest.update(column.value_lengths().to_numpy(zero_copy_only=False).tobytes())
            digest.update(column.flatten().to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()
