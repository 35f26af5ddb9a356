"""A LoRA adapter merged into its base model: a folder that every tool can load, whole or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError, RecipeError, one_line
from ..versions import versions
from .card import EVALUATION, run_of, write_card
from .card_text import scrub
from .merged_model import adapter_tokenizer, merged_model, set_end
from .record import read_json, write_json

RECORD = "merge.json"
DTYPES = ("auto", "float32", "bfloat16", "float16")
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def merge(
    adapter: Path, out: Path, *, base: str | None = None, dtype: str = "auto", trust_remote_code: bool = False
) -> dict[str, Any]:
    """Merge an adapter and write the model, its tokenizer, generation configuration and card.

    A QLoRA adapter is merged into the base in full precision, not into the quantised weights it was trained on.

    Args:
        adapter: Folder that peft or `scripts/sft.py` wrote.
        out: Folder to make. An earlier merge there is replaced once the new one is whole.
        base: The base model, where it is not at the place that the adapter names.
        dtype: Of the merged weights, one of `DTYPES`; "auto" is that of the base.
        trust_remote_code: Run Python code that comes with the base model.

    Returns:
        What `merge.json` holds: base, revision, dtype, SHA-256 of the adapter's weights, parameters, end token.

    Raises:
        DataError: If there is no adapter, it does not fit the base, a weight is not finite, `out` holds anything but
            an earlier merge, or it cannot be written.
        RecipeError: If `dtype` is not known.
        MissingExtraError: If peft or transformers is not installed.
    """
    if dtype not in DTYPES:
        raise RecipeError(f"--dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    config = adapter_config(adapter)
    check_out(out)
    train = read_json(adapter / "train.json")
    name = base or config["base_model_name_or_path"]
    revision = _revision(config, train)
    model = merged_model(adapter, name, revision, dtype, trust_remote_code)
    tokenizer = adapter_tokenizer(adapter, name, revision, trust_remote_code)
    end = set_end(model, tokenizer, train.get("end_token"))
    record = {
        "base": name,
        "revision": revision,
        "dtype": str(model.dtype).removeprefix("torch."),
        "adapter_digest": _digest(adapter),
        "parameters": model.num_parameters(),
        "end_token": end,
        "versions": versions(),
    }
    known = {"model": name, "end_token": end, **train, "merged": record}
    with _written_beside(out, model.get_memory_footprint()) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / RECORD, scrub(record))
        if train:
            write_json(folder / "train.json", {**train, "merged": record})
        _write_card(adapter, folder, out, known)
    return record


def adapter_config(folder: Path) -> dict[str, Any]:
    """What `adapter_config.json` holds.

    Raises:
        DataError: If the folder holds no LoRA adapter.
    """
    config = read_json(folder / "adapter_config.json")
    if not config or not any((folder / name).is_file() for name in _WEIGHTS):
        what = "a whole model, nothing to merge" if (folder / "config.json").is_file() else "no LoRA adapter"
        raise DataError(
            f"{folder}: {what}; expected adapter_config.json and {_WEIGHTS[0]}, as scripts/sft.py --use_peft "
            "leaves them"
        )
    if config.get("peft_type") != "LORA" or not config.get("base_model_name_or_path"):
        raise DataError(
            f"{folder}/adapter_config.json: expected peft_type LORA and base_model_name_or_path, got "
            f"{config.get('peft_type')!r} and {config.get('base_model_name_or_path')!r}; only LoRA can be merged"
        )
    return config


def check_out(out: Path) -> None:
    """Refuse to write over anything but an earlier merge.

    Raises:
        DataError: If there is something else.
    """
    if out.exists() and not (out / RECORD).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is there and is no merge ({RECORD} is missing); give another folder, or remove it")


@contextmanager
def _written_beside(out: Path, size: int) -> Iterator[Path]:
    """A folder that takes the place of `out` at the end, or goes without a trace.

    Args:
        out: What it becomes.
        size: Bytes that are needed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < size:
        raise DataError(f"{out}: the merged model takes {size:,} bytes, the disk has {free:,} left; make room")
    folder, old = (out.with_name(f".{out.name}.{word}{os.getpid()}") for word in ("", "old"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        if out.exists():
            out.rename(old)
        folder.rename(out)
    except Exception as error:
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":  # which has no base in Python
            full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
            why = "the disk is full" if full else one_line(error, 300)
            raise DataError(
                f"{out}: cannot be written ({why}); nothing was left there; make room and start again"
            ) from error
        raise
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_card(adapter: Path, folder: Path, out: Path, known: Mapping[str, Any]) -> None:
    """The card, with the adapter's evaluation, and with what a person wrote into that of the merge before."""
    for file in (adapter / EVALUATION, out / "README.md"):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    write_card(folder, known, run_of(adapter, known), out.name)


def _revision(config: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    given = (train.get("arguments") or {}).get("model_revision")
    return str(given or config.get("revision") or "main")


def _digest(adapter: Path) -> str:
    file = next(adapter / name for name in _WEIGHTS if (adapter / name).is_file())
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()
