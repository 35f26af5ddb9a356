"""Checkpoints: which of them are whole, and whether one belongs to the training that is to go on from it.

Nothing here loads a model: JSON files, and the headers of weight files, tell enough.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from .record import read_json

SIZES = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


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
    weights = list(checkpoint.glob("*.safetensors"))
    if broken := next((file for file in weights if not _is_whole(file)), None):
        return f"{broken.name} was cut off"
    states = [file for name in ("optimizer", "scheduler") for file in checkpoint.glob(f"{name}.*")]
    if broken := next((file for file in states if not zipfile.is_zipfile(file)), None):
        return f"{broken.name} was cut off"
    return ""


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
    is_adapter = (folder / "adapter_config.json").is_file()
    if is_adapter != adapter:
        kind, wanted = ("a LoRA adapter", "full") if is_adapter else ("a full model", "LoRA")
        raise RecipeError(
            f"{where}: holds {kind}, and this is a {wanted} training; give the checkpoint of this training"
        )
    found = read_json(folder / "config.json")
    for name in SIZES if found else ():
        if name in config and found.get(name) != config[name]:
            raise RecipeError(
                f"{where}: is of another model than {model}: {name} {found.get(name)}, not {config[name]}"
            )
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if base is not None and base != model:
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
        except ValueError:
            return False
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return size >= 8 + length + max(ends, default=0)
