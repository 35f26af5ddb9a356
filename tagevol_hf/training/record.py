"""What a training leaves behind: the digest that tells two trainings apart, its checkpoints, `train.json`.

In the output folder `started.json` holds the digest of the training whose checkpoints lie there, from its
first moment; `train.json` is written last, when the model is saved.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from ..errors import DataError
from ..homes import portable, resolved
from .earlier import TINY_MODEL, set_aside

# These change where files go or what is shown, not the weights.
UNIMPORTANT = frozenset(
    {
        "config", "curated", "curate", "env", "retrain", "output_dir", "resume_from_checkpoint",
        "model_name_or_path", "report_to", "run_name", "project", "trackio_space_id", "disable_tqdm",
        "log_level", "log_level_replica", "log_on_each_node", "logging_dir", "logging_steps",
        "logging_strategy", "logging_first_step", "logging_nan_inf_filter",
        "include_num_input_tokens_seen", "save_steps", "save_strategy", "save_total_limit",
        "save_on_each_node", "save_only_model", "push_to_hub", "hub_model_id", "hub_strategy",
        "hub_token", "hub_private_repo", "hub_always_push", "hub_revision", "dataloader_num_workers",
        "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor",
        "dataset_num_proc", "ddp_timeout", "ddp_backend", "skip_memory_metrics",
    }
)  # fmt: skip


def training_digest(arguments: Mapping[str, Any], data: str, model: str) -> str:
    """SHA-256 of what decides the result: arguments that matter (as text), data content and model.

    Args:
        arguments: Names and values as given by the user.
        data: Digest of the texts.
        model: Identity of the model, see `model_identity`.
    """
    kept = {name: str(value).lower() for name, value in arguments.items() if name not in UNIMPORTANT}
    text = json.dumps([kept, data, model], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def model_identity(name_or_path: str) -> str:
    """The name, and for a folder the sizes and times of its files, so that replaced weights show."""
    folder = Path(name_or_path)
    if not folder.is_dir():
        return name_or_path
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".json"))
    return json.dumps([[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def is_done(folder: Path, digest: str) -> bool:
    """Whether this very training has ended in `folder` and its model is still there."""
    has_model = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    weights = any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    return has_model and weights and read_json(folder / "train.json").get("digest") == digest


def hold(folder: Path, patience: float = 15.0) -> filelock.BaseFileLock:
    """Keep a second training out of a folder for as long as this process lives; `kill -9` ends that, too.

    torchrun's processes live on when only their launcher is killed: the same command again would write between theirs.

    Args:
        folder: Output folder of the training; made if it is not there. For the process with rank 0.
        patience: Seconds to wait; data loading processes of a killed training need 5 to notice.

    Raises:
        DataError: If another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.resolve() / ".training.lock", is_singleton=True)  # a process may train twice
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        raise DataError(
            f"{folder}: another process trains into this folder; wait for it, or end it (torchrun's processes live on "
            "when only their launcher is killed)"
        ) from None
    atexit.register(lock.release)  # which keeps it, too: a lock that nobody holds is released
    return lock


def begin(folder: Path, digest: str, *, afresh: bool, resume: str | None = None) -> str | None:
    """Make the folder ready; what an earlier, different training left there is set aside, not deleted.

    Args:
        folder: Output folder of the training.
        digest: Result of `training_digest`.
        afresh: Set aside the model and the checkpoints of the same training, too.
        resume: A checkpoint that stays where it is, since the training goes on from it.

    Returns:
        The folder to which the earlier model and checkpoints were moved, or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = read_json(folder / "started.json").get("digest")
    moved = None
    if afresh or started != digest:
        trained = read_json(folder / "train.json")
        tiny = read_json(folder / TINY_MODEL / "tiny.json").get("data")
        began_from = TINY_MODEL if tiny is not None and tiny == trained.get("data_digest") else None
        name = str(started or trained.get("digest") or "unknown")[:8]
        moved = set_aside(folder, f"earlier-{name}", stays=resume, copied=began_from)
    (folder / "train.json").unlink(missing_ok=True)
    write_json(folder / "started.json", {"digest": digest})
    return str(moved) if moved else None


def loss_history(log: Sequence[Mapping[str, Any]], name: str = "loss") -> list[dict[str, float]]:
    """Step, epoch and loss (nats a learned token) of every log entry that has a loss of this name."""
    return [
        {"step": entry["step"], "epoch": round(entry["epoch"], 4), "loss": entry[name]}
        for entry in log
        if name in entry
    ]


def task_history(log: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Step and figures of every log entry that has one of these tasks; null for what could not be evaluated."""
    found = []
    for entry in log:
        figures = {name[5:]: value for name, value in entry.items() if name.startswith(_prefixes(tasks))}
        if figures:
            known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
            found.append({"step": entry["step"], **known})
    return found


def _prefixes(tasks: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"eval_{task}_" for task in tasks)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file or it was cut off while being written."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return resolved(value) if isinstance(value, dict) else {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file that is either the old one or complete."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(portable(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)
