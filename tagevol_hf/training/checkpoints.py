"""Checkpoints: which of them are whole, and whether one belongs to the training that is to go on from it.

Nothing here loads a model: JSON files, and the headers of weight files, tell enough.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from .earlier import is_model
from .record import begin, hold, read_json

_STATES = ("optimizer.*", "scheduler.*", "scaler.*", "rng_state*")  # as torch saves them: zip archives
_WEIGHTS = ("*.safetensors", "pytorch_model*", "global_step*")  # the last two by FSDP and DeepSpeed

SIZES = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)


def make_ready(folder: Path, digest: str, *, afresh: bool, resume: str | None) -> list[str]:
    """Keep other trainings out of the folder, and set aside what this one must not go on from; rank 0 does it.

    Args:
        folder: Output folder of the training.
        digest: Of the training.
        afresh: Set aside what the same training left, too.
        resume: A checkpoint that stays where it is.

    Returns:
        What was set aside, a line each.

    Raises:
        DataError: If another process trains into the folder.
    """
    if int(os.environ.get("RANK", "0")) != 0:
        return []
    hold(folder)
    moved = begin(folder, digest, afresh=afresh, resume=resume)
    told = []
    if moved:
        model = is_model(Path(moved))
        what = "an earlier training's model was" if model else "checkpoints of an earlier, different training were"
        told = [f"{what} moved to {moved}"]
    return told + [f"a checkpoint that is not whole was moved to {torn}" for torn in set_torn_aside(folder)]


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a training; transformers writes `trainer_state.json` last."""
    numbered = [path for path in folder.glob("checkpoint-*") if re.search(r"-\d+$", path.name)]
    for path in sorted(numbered, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        if not what_is_missing(path):
            return path
    return None


def what_is_missing(checkpoint: Path) -> str:
    """Why a checkpoint cannot be gone on from, in words; empty if nothing is."""
    if not checkpoint.is_dir():
        return "there is no such folder"
    if "global_step" not in read_json(checkpoint / "trainer_state.json"):
        return "its trainer_state.json is not there or was cut off"
    broken = [file for file in checkpoint.glob("*.safetensors") if not _is_whole(file)]
    states = [file for name in _STATES for file in checkpoint.glob(name)]
    broken += [file for file in states if not zipfile.is_zipfile(file)]
    if broken:
        return f"{broken[0].name} was cut off"
    absent = [name for name in _named(checkpoint) if not (checkpoint / name).is_file()]
    return f"{absent[0]} is not there" if absent else ""


def set_torn_aside(folder: Path) -> list[Path]:
    """Move checkpoints that are not whole to `earlier-torn/`, and give where they are.

    Left where they are they would count as the newest: with a `save_total_limit` the whole ones would be deleted.
    """
    aside = []
    for path in sorted(folder.glob("checkpoint-*")):
        if path.is_dir() and what_is_missing(path):
            target = folder / "earlier-torn" / path.name
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            aside.append(path.rename(target))
    return aside


def check_checkpoint(
    path: str, model: str, config: Mapping[str, Any], *, adapter: bool, digest: str | None = None
) -> None:
    """Refuse a checkpoint that a training cannot go on from.

    Args:
        path: What `resume_from_checkpoint` names.
        model: What `model_name_or_path` names, for messages.
        config: The model's configuration as plain values, as in its config.json.
        adapter: Whether a LoRA adapter is trained.
        digest: Of the training that is to go on; not compared where it is None.

    Raises:
        RecipeError: If it is not whole, of another model, a full model in place of an adapter or the other way round,
            or of a training with other data or settings.
    """
    folder = Path(path)
    where = f"resume_from_checkpoint: {path}"
    if missing := what_is_missing(folder):
        raise RecipeError(f"{where}: {missing}; leave it out to go on from the last whole checkpoint in output_dir")
    if not any(any(folder.glob(name)) for name in _WEIGHTS):
        raise RecipeError(f"{where}: holds no weights; leave it out to go on from the last whole checkpoint")
    is_adapter = (folder / "adapter_config.json").is_file()
    if is_adapter != adapter:
        kind, wanted = ("a LoRA adapter", "full") if is_adapter else ("a full model", "LoRA")
        raise RecipeError(
            f"{where}: holds {kind}, and this is a {wanted} training; give the checkpoint of this training"
        )
    found = read_json(folder / "config.json")
    for name in SIZES:
        if name in config and name in found and found[name] != config[name]:
            raise RecipeError(f"{where}: is of another model than {model}: {name} {found[name]}, not {config[name]}")
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if base is not None and base != model and Path(base).resolve() != Path(model).resolve():
        raise RecipeError(f"{where}: is an adapter of {base}, not of {model}; give one of this training")
    begun = read_json(folder.parent / "started.json").get("digest")
    if digest is not None and begun is not None and begun != digest:
        raise RecipeError(
            f"{where}: is of a training with other data or settings; to begin a new one from its weights give the "
            "folder as model_name_or_path"
        )


def _is_whole(weights: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    size = weights.stat().st_size
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, LookupError, TypeError, AttributeError):
            return False
    return size >= 8 + length + max(ends, default=0)


def _named(checkpoint: Path) -> list[str]:
    """Files that others say must be there: shards of the weights, and the random states of the other processes.

    Of those only a gap shows; a process number in a name means that there were at least two.
    """
    shards = read_json(checkpoint / "model.safetensors.index.json").get("weight_map")
    named = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    numbers = [re.fullmatch(r"rng_state_(\d+)\.pth", file.name) for file in checkpoint.glob("rng_state_*.pth")]
    most = max((int(number[1]) for number in numbers if number), default=-1)
    return named + ([f"rng_state_{number}.pth" for number in range(max(2, most + 1))] if most >= 0 else [])
