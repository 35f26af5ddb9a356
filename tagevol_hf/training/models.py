"""The model to train and its tokenizer: found or made on the spot, and checked early."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..errors import DataError, MissingExtraError, RecipeError
from . import earlier
from .chat_templates import give_template
from .record import read_json, write_json
from .tiny import ARCHITECTURES, make_tiny_model

TINY = "tiny:"
WAIT_SECONDS = 600.0


def resolve_model(name: str, output_dir: Path, rows: Dataset, data_digest: str) -> str:
    """`name` itself, or the folder of the tiny model that `tiny:<architecture>` asks for.

    The process with rank 0 makes the tiny model in `<output_dir>/tiny-model`; others wait for its files,
    which needs no process group.

    Raises:
        RecipeError: If the architecture is not known, or no model appears in time.
    """
    if not name.startswith(TINY):
        return name
    architecture = name.removeprefix(TINY)
    if architecture not in ARCHITECTURES:
        known = ", ".join(TINY + each for each in ARCHITECTURES)
        raise RecipeError(f"model_name_or_path: {name!r} is not known; the tiny models are {known}")
    folder = output_dir / earlier.TINY_MODEL
    wanted = {"architecture": architecture, "data": data_digest}
    if read_json(folder / "tiny.json") == wanted:
        return str(folder)
    if int(os.environ.get("RANK", "0")) == 0:
        _make(folder, architecture, rows, wanted)
    else:
        _wait(folder, wanted)
    return str(folder)


def load_tokenizer(model: str, *, revision: str, trust_remote_code: bool, eos_token: str | None) -> Any:
    """The model's tokenizer, with `eos_token` in place of its own where one is given.

    Raises:
        RecipeError: If there is no such model or tokenizer, or the token is not in its vocabulary.
        MissingExtraError: If transformers is not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "train") from error
    if (model.startswith((".", "/", "~")) or model.count("/") > 1) and not Path(model).exists():
        raise RecipeError(
            f"model_name_or_path: no tokenizer can be loaded from {model!r} (no such folder); give a model folder, "
            "a Hub id or tiny:llama"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RecipeError(
            f"model_name_or_path: no tokenizer can be loaded from {model!r} ({reason}); give a model folder, "
            "a Hub id or tiny:llama"
        ) from error
    if eos_token is not None:
        if eos_token not in tokenizer.get_vocab():
            raise RecipeError(f"eos_token: {eos_token!r} is no token of {model}; give one of its vocabulary")
        tokenizer.eos_token = eos_token
    return tokenizer


def tokenizer_of(model: str, wanted: argparse.Namespace) -> Any:
    """The model's tokenizer, with the template that goes with the format, as a training wants them.

    Raises:
        RecipeError: As `load_tokenizer`, `give_template` and `check_end_token`.
        MissingExtraError: If transformers is not installed.
    """
    trust = {"revision": wanted.model_revision, "trust_remote_code": wanted.trust_remote_code}
    tokenizer = load_tokenizer(model, eos_token=wanted.eos_token, **trust)
    give_template(tokenizer, wanted.format, wanted.chat_template_path)
    check_end_token(tokenizer, wanted.eos_token)
    return tokenizer


def check_end_token(tokenizer: Any, asked: str | None) -> None:
    """Make sure that an end token that was asked for is the one that is learned.

    Raises:
        RecipeError: If the chat template ends replies with another one.
    """
    if asked is not None and asked != tokenizer.eos_token:
        raise RecipeError(
            f"eos_token: {asked!r} is not what the chat template ends a reply with, {tokenizer.eos_token!r}; "
            "leave it out"
        )


def plain_config(model: str, *, revision: str, trust_remote_code: bool) -> dict[str, Any]:
    """The model's configuration as plain values; no weight is read.

    Raises:
        RecipeError: If there is none.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RecipeError(
            f"model_name_or_path: no model configuration can be read from {model!r} ({reason})"
        ) from error
    return dict(config.get_text_config().to_dict())


def check_vocabulary(model: str, encoded: Dataset, config: Mapping[str, Any]) -> None:
    """Make sure that the model knows every token of the data: a wrong tokenizer shows here, not on a GPU.

    Args:
        model: Its name, for messages.
        encoded: Result of `encode`.
        config: Result of `plain_config`.

    Raises:
        DataError: If a token id is beyond the model's vocabulary.
    """
    size = config.get("vocab_size")
    largest = max((max(ids) for ids in encoded["input_ids"]), default=0)
    if size is not None and largest >= size:
        raise DataError(
            f"{model}: the model knows {size} tokens, its tokenizer gives token {largest}; they do not match"
        )


def _make(folder: Path, architecture: str, rows: Dataset, wanted: dict[str, str]) -> None:
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    make_tiny_model(beside, architecture, _texts(rows))
    write_json(beside / "tiny.json", wanted)
    if folder.exists() and earlier.is_model(folder.parent):  # which began from it
        folder.rename(earlier.unused(folder.with_name(f"earlier-{folder.name}")))
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)


def _wait(folder: Path, wanted: dict[str, str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while read_json(folder / "tiny.json") != wanted:
        if time.monotonic() > deadline:
            raise RecipeError(f"{folder}: rank 0 made no tiny model in {WAIT_SECONDS:.0f} s; see its output")
        time.sleep(0.1)


def _texts(rows: Dataset) -> Iterator[str]:
    for name in ("instruction", "input", "response"):
        yield from (text for text in rows[name] if text)
