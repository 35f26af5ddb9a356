"""Perplexities of responses with and without their instructions, and IFD (Superfiltering, arXiv 2402.00530)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, Features, Value

from ...errors import DataError
from ...progress import progress
from ...rows import Row, with_batches

if TYPE_CHECKING:
    from .language_model import LanguageModel

PERPLEXITIES = Features(
    {
        "ifd": Value("float64"),
        "perplexity": Value("float64"),
        "answer_perplexity": Value("float64"),
        "ifd_note": Value("string"),
    }
)


def add_perplexity(
    dataset: Dataset, model: str | Path | LanguageModel, *, max_length: int = 1024, batch_size: int = 16
) -> Dataset:
    """Read every response with and without its instruction, by any causal language model, such as GPT-2.

    Writes `perplexity` (of the response given the instruction), `answer_perplexity` (of the response alone), their
    ratio `ifd`, and `ifd_note`: empty, or that the response was cut, or why the three are null. Both readings are of
    the same tokens; where the tokenizer has no start token, the first one cannot be predicted in the reading alone.

    Args:
        dataset: Rows as `prepare` gives them. The prompt is the instruction, and the input on a line of its own.
        model: Folder or Hub id, or a model that is loaded already.
        max_length: Most tokens of instruction and response together, within the model's context; the end of a
            longer response is not read.
        batch_size: Most texts read at once, where the model is to be loaded.

    Raises:
        DataError: If a column is missing, or `max_length` is below 2.
        EngineError: If the model cannot be loaded.
        MissingExtraError: If torch or transformers is not installed.
    """
    missing = [name for name in ("id", "instruction", "response") if name not in dataset.column_names]
    if missing:
        raise DataError(f"ifd needs the column {missing[0]}; the data set has: {', '.join(dataset.column_names)}")
    if max_length < 2:
        raise DataError(f"ifd.max_length: expected at least 2 tokens, got {max_length}")
    from .language_model import LanguageModel

    loaded = model if isinstance(model, LanguageModel) else LanguageModel(model, batch_size=batch_size)
    longest = min(max_length, loaded.context)
    with progress("ifd", len(dataset)) as advance:

        def read(rows: Sequence[Row]) -> list[dict[str, Any]]:
            advance(len(rows))
            return _read(rows, loaded, longest)

        return with_batches(dataset, read, PERPLEXITIES)


@dataclass(frozen=True)
class _Reading:
    """Tokens of the prompt and of as much of the response as there is room for; a note on the rest."""

    prompt: Sequence[int]
    response: Sequence[int]
    note: str
    readable: bool


def _read(rows: Sequence[Row], model: LanguageModel, longest: int) -> list[dict[str, Any]]:
    readings = [_reading(row, model, longest) for row in rows]
    good = [reading for reading in readings if reading.readable]
    together = [([*one.prompt, *one.response], len(one.prompt)) for one in good]
    alone = [([*model.start, *one.response], len(model.start)) for one in good]
    pairs = iter(zip(model.losses(together), model.losses(alone), strict=True))
    figures: list[dict[str, float | None]] = [_figures(*next(pairs)) if one.readable else {} for one in readings]
    return [{**found, "ifd_note": one.note} for found, one in zip(figures, readings, strict=True)]


def _reading(row: Row, model: LanguageModel, longest: int) -> _Reading:
    if row.get("rejection") is not None:
        return _Reading((), (), "the row is rejected", False)
    prompt = model.tokens(prompt_of(row))
    response = model.tokens_after(row["response"] or "")
    if len(response) < 2:
        return _Reading((), (), f"the response has {len(response)} tokens; at least 2 are needed", False)
    room = longest - len(prompt)
    if room < 2:
        return _Reading((), (), f"the instruction has {len(prompt)} tokens and leaves no room of {longest}", False)
    note = f"the response was cut from {len(response)} to {room} tokens" if len(response) > room else ""
    return _Reading(prompt, response[:room], note, True)


def prompt_of(row: Row) -> str:
    """The instruction and the input, each on lines of its own."""
    return "\n".join(part for part in (row["instruction"], row.get("input") or "") if part) + "\n"


def _figures(given: float, alone: float) -> dict[str, float | None]:
    values = {"ifd": given - alone, "perplexity": given, "answer_perplexity": alone}
    return {name: _exp(value) for name, value in values.items()}


def _exp(loss: float) -> float | None:
    """Null where the model's numbers overflow."""
    return math.exp(loss) if loss < 700 else None
