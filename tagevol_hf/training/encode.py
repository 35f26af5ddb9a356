"""From rows to token ids and labels: what is learned, token by token.

Training and held-out evaluation both use these functions, so that a model is measured on exactly the form
that it was trained on. The result has TRL's columns of a tokenized data set: `input_ids`, and `labels` with
-100 on every token that is not learned.

With `alpaca` and with a named chat template (`llama2`, `mistral`, `llama3`, `qwen2.5`, `chatml`) only the last response
and its end token are learned; with `messages` every assistant turn and its end token, as the tokenizer's chat template
marks them. Text of the data that looks like a special token is plain text everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset, Features, List, Value

from ..rows import Row, rows_of
from .chat_templates import packaged, training_template
from .formats import ALPACA, MESSAGES, check_format, messages_of, prompt_text
from .spans import MASKED, Encoded, encode_conversations
from .veiled import Pieces, going_on

ENCODED_FEATURES = Features({"id": Value("string"), "input_ids": List(Value("int32")), "labels": List(Value("int32"))})


def encode(dataset: Dataset, format_name: str, tokenizer: Any) -> Dataset:
    """Columns `id`, `input_ids` and `labels` of every row, in order, not truncated.

    Args:
        dataset: Rows of a curated set.
        format_name: One of `formats.FORMATS`.
        tokenizer: A fast tokenizer, after `chat_templates.give_template` or as a training saved it.

    Raises:
        RecipeError: If the format is not known, or the tokenizer cannot serve it.
        DataError: If the chat template cannot write a row; the message names it.
        MissingExtraError: If TRL is needed for the chat template and is not installed.
    """
    check_format(format_name)
    template = training_template(tokenizer) if format_name == MESSAGES else packaged(format_name)

    def convert(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = list(rows_of(batch))
        pairs = _encode(rows, format_name, tokenizer, template)
        ids, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return {"id": [row["id"] for row in rows], "input_ids": ids, "labels": labels}

    return dataset.map(
        convert,
        batched=True,
        remove_columns=dataset.column_names,
        features=ENCODED_FEATURES,
        load_from_cache_file=False,
        keep_in_memory=True,
    )


def encode_pairs(prompts: Sequence[str], completions: Sequence[str], tokenizer: Any) -> list[Encoded]:
    """Ids and labels of prompts with their completions; the prompt's ids are those of the prompt alone.

    Prompt and completion are tokenized as one text. Where a token would span the border, they are tokenized
    apart, since the model will be asked with the prompt's own tokens.
    """
    options = {"split_special_tokens": True, "truncation": False}
    starts = tokenizer(list(prompts), **options)["input_ids"]
    wholes = tokenizer([p + c for p, c in zip(prompts, completions, strict=True)], **options)["input_ids"]
    end: int = tokenizer.eos_token_id

    def plain(text: str) -> Pieces:
        alone = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, **options)
        return alone["input_ids"], alone["offset_mapping"]

    pairs = []
    for start, whole, completion in zip(starts, wholes, completions, strict=True):
        prompt, ids = _without_end(start, end), _without_end(whole, end)
        if ids[: len(prompt)] != prompt:
            ids = prompt + going_on(completion, plain)[0]
        ids = [*ids, end]
        pairs.append((ids, [MASKED] * len(prompt) + ids[len(prompt) :]))
    return pairs


def marked_text(ids: Sequence[int], labels: Sequence[int], tokenizer: Any, *, width: int = 400) -> str:
    """One row decoded, «» around what is learned; of a part beyond `width` characters the middle is cut out."""
    parts: list[str] = []
    start = 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or (labels[end] == MASKED) != (labels[start] == MASKED):
            text = _shortened(tokenizer.decode(ids[start:end], skip_special_tokens=False), width)
            parts.append(text if labels[start] == MASKED else f"«{text}»")
            start = end
    return "".join(parts)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width // 2]} […] {text[-width // 2 :]}"


def _encode(rows: Sequence[Row], format_name: str, tokenizer: Any, template: str) -> list[Encoded]:
    if format_name == ALPACA:
        prompts = [prompt_text(row) for row in rows]
        return encode_pairs(prompts, [row["response"] or "" for row in rows], tokenizer)
    turns = "all" if format_name == MESSAGES else "last"
    names, conversations = [str(row["id"]) for row in rows], [messages_of(row) for row in rows]
    return encode_conversations(names, conversations, template, tokenizer, turns)


def _without_end(ids: list[int], end: int) -> list[int]:
    """Ids without the end token that some tokenizers put behind every text."""
    return ids[:-1] if ids and ids[-1] == end else ids
