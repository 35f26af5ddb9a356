"""What a training says: of its data before it begins, and how the same command goes on when it ends early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError
from .checkpoints import last_checkpoint
from .encode import marked_text
from .lengths import Encoding


def data_in_words(
    encoding: Encoding, unanswered: int, max_length: int | None, row: Mapping[str, Any], tokenizer: Any
) -> Iterator[str]:
    """What is trained on, and one row with what is learned between «».

    Args:
        encoding: How many rows and tokens there are.
        unanswered: Rows without a response.
        max_length: Longest row, in tokens.
        row: One that is encoded.
        tokenizer: That encoded it.
    """
    yield f"{encoding.rows} rows, {encoding.tokens} tokens, {encoding.learned_tokens} of them learned"
    if unanswered:
        yield f"{unanswered} rows have no response and are left out"
    if encoding.over_long:
        what = "left out" if encoding.dropped else "cut at their end"
        yield f"{encoding.over_long} rows have more than max_length: {max_length} tokens and are {what}"
        yield f"  (the longest has {encoding.longest})"
    if tokenizer.pad_token is None:
        yield f"the tokenizer has no padding token: {tokenizer.eos_token} fills up batches, and is not learned there"
    text = marked_text(row["input_ids"], row["labels"], tokenizer)
    yield f"row {row['id']}, learned between «»:\n  " + text.replace("\n", "\n  ")


def how_it_goes_on(folder: Path, command: str) -> str:
    """What a command does after a training in this folder has ended early."""
    last = last_checkpoint(folder)
    return (
        f"{command} begins anew, for there is no checkpoint yet" if last is None else f"{command} goes on from {last}"
    )


@contextmanager
def ends_in_words(folder: Path, command: str) -> Iterator[None]:
    """A training in this folder; where it is stopped, or the disk is full, the error says how it goes on.

    Args:
        folder: Where its checkpoints are.
        command: What goes on, as "the same command".

    Raises:
        KeyboardInterrupt: With these words.
        DataError: With these words, in place of an OSError.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {how_it_goes_on(folder, command)}") from None
    except OSError as fault:
        raise DataError(f"{fault}; when that is mended {how_it_goes_on(folder, command)}") from fault
