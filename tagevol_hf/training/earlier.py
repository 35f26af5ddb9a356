"""What an earlier training left in a folder, moved to a folder of its own in there: nothing is overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import RecipeError

# All that makes a model whole, what was measured of it, and how it came to be.
_MODEL = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.py"),
    *("config.json", "generation_config.json", "adapter_config.json", "quantization_config.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    *("chat_template*", "additional_chat_templates", "preprocessor_config.json", "processor_config.json"),
    *("eval.json", "evals", "best_checkpoint.json"),
    "train.json",  # last: as long as it is here, the model is
)
_CARD = "README.md"  # copied: what a person wrote into it is for the next model, too
TINY_MODEL = "tiny-model"  # made here, for a training to begin from


def set_aside(folder: Path, name: str, *, stays: str | None = None, copied: str | None = None) -> Path | None:
    """Move the model and the checkpoints of an earlier training to a folder in its folder.

    Args:
        folder: Output folder of both trainings.
        name: Of the folder to move to; a number is put behind one that is there.
        stays: A checkpoint that is not moved.
        copied: A part of the earlier training that the next one needs, too; it stays, and is copied.

    Returns:
        Where they are; None if there was nothing.
    """
    parts = [path for path in sorted(folder.glob("checkpoint-*")) if not _same(path, stays)]
    if is_model(folder):
        parts += _model_files(folder)
    if not parts:
        return None
    target = unused(folder / name)
    target.mkdir()
    if copied is not None:
        shutil.copytree(folder / copied, target / copied)
    if is_model(folder) and (folder / _CARD).is_file():
        shutil.copy2(folder / _CARD, target / _CARD)
    for path in parts:
        path.rename(target / path.name)
    return target


def is_model(folder: Path) -> bool:
    """Whether a model's weights, or a record of them, are in a folder."""
    described = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    weights = any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    return (described and weights) or (folder / "train.json").is_file()


def check_apart(model: str, folder: Path) -> None:
    """Refuse to train into the folder that holds the model to begin from: it would be overwritten.

    Raises:
        RecipeError: If `model` is the folder itself, or one of its checkpoints.
    """
    begins, ends = Path(model), folder.resolve()
    if not begins.is_dir():
        return
    begins = begins.resolve()
    if begins == ends or (begins.parent == ends and begins.name.startswith("checkpoint-")):
        raise RecipeError(
            f"output_dir: {folder} holds model_name_or_path, {model}, which would be overwritten; give another "
            "--output_dir"
        )


def unused(path: Path) -> Path:
    """The path, or with a number from 2 on behind it the first that is not there."""
    number, free = 2, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free


def _model_files(folder: Path) -> list[Path]:
    found = (path for name in _MODEL for path in sorted(folder.glob(name)))
    return list(dict.fromkeys(found))


def _same(path: Path, other: str | None) -> bool:
    return other is not None and path.resolve() == Path(other).resolve()
