"""From rows to token ids and labels: what is learned, token by token.

Training and held-out evaluation both use these functions, so that a model is measured on exactly the form
that it was trained on. The result has TRL's columns of a tokenized data set: `input_ids`, and `labels` with
-100 on every token that is not learned.

With a prompt template only the response and one end-of-sequence token are learned; text that looks like a
special token is read as plain text. With `messages` the tokenizer's chat template decides: what it marks
with `{% generation %}` is learned, in every assistant turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset, Features, List, Value

from ..errors import MissingExtraError, RecipeError
from ..rows import rows_of
from .formats import MESSAGES, check_format, messages_of, prompt_text

MASKED = -100  # the label that PyTorch's cross entropy leaves out
ENCODED_FEATURES = Features({"id": Value("string"), "input_ids": List(Value("int32")), "labels": List(Value("int32"))})

Encoded = tuple[list[int], list[int]]


def encode(dataset: Dataset, format_name: str, tokenizer: Any) -> Dataset:
    """Columns `id`, `input_ids` and `labels` of every row, in order, not truncated.

    Raises:
        RecipeError: If the format is not known, or the tokenizer cannot serve it.
        MissingExtraError: If TRL is needed for the chat template and is not installed.
    """
    check_format(format_name)
    if tokenizer.eos_token_id is None:
        raise RecipeError(
            f"{tokenizer.name_or_path}: the tokenizer has no end-of-sequence token, so the model would never "
            "learn to stop; name one of its tokens with eos_token: <token>"
        )
    template = training_chat_template(tokenizer) if format_name == MESSAGES else None

    def convert(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = list(rows_of(batch))
        if template is not None:
            pairs = [_encode_chat(messages_of(row), tokenizer, template) for row in rows]
        else:
            prompts = [prompt_text(row, format_name) for row in rows]
            pairs = encode_pairs(prompts, [row["response"] or "" for row in rows], tokenizer)
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
    pairs = []
    for start, whole, completion in zip(starts, wholes, completions, strict=True):
        prompt, ids = _without_end(start, end), _without_end(whole, end)
        if ids[: len(prompt)] != prompt:
            ids = prompt + tokenizer(completion, add_special_tokens=False, **options)["input_ids"]
        ids = [*ids, end]
        pairs.append((ids, [MASKED] * len(prompt) + ids[len(prompt) :]))
    return pairs


def training_chat_template(tokenizer: Any) -> str:
    """The tokenizer's chat template with `{% generation %}` around an assistant's words and their end token.

    Where the tokenizer's own has no such marks, TRL's version of that template is taken if there is one.

    Raises:
        RecipeError: If there is no template, or none with the marks, or the end of a turn stays unmarked.
        MissingExtraError: If TRL is not installed.
    """
    try:
        from trl import chat_template_utils as trl_templates
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train") from error
    where = f"{tokenizer.name_or_path}: format messages"
    remedy = "give one with chat_template_path: <file.jinja>, or use format: alpaca"
    template = tokenizer.chat_template
    if not template:
        raise RecipeError(f"{where} needs a chat template and the tokenizer has none; {remedy}")
    if not trl_templates.has_generation_markers(template):
        try:
            template = trl_templates.get_training_chat_template(tokenizer)
        except ValueError as error:
            raise RecipeError(
                f"{where}: the chat template does not mark the replies with {{% generation %}}; {remedy}"
            ) from error
    if not trl_templates.is_chat_template_stop_token_trained(tokenizer, chat_template=template):
        raise RecipeError(f"{where}: the chat template leaves the end of a reply unmarked; {remedy}")
    return str(template or tokenizer.chat_template)


def rows_with_special_text(dataset: Dataset, tokenizer: Any) -> int:
    """Rows whose text holds a special token's name; behind a chat template nothing tells the two apart."""
    names = set(tokenizer.all_special_tokens)
    texts = (" ".join(turn["content"] for turn in messages_of(row)) for row in dataset)
    return sum(any(name in text for name in names) for text in texts)


def marked_text(ids: Sequence[int], labels: Sequence[int], tokenizer: Any, *, width: int = 700) -> str:
    """One row decoded, «» around what is learned; the middle is cut out beyond `width` characters."""
    parts: list[str] = []
    start = 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or (labels[end] == MASKED) != (labels[start] == MASKED):
            text = tokenizer.decode(ids[start:end], skip_special_tokens=False)
            parts.append(text if labels[start] == MASKED else f"«{text}»")
            start = end
    text = "".join(parts)
    return text if len(text) <= width else f"{text[: width // 2]} […] {text[-width // 2 :]}"


def _encode_chat(messages: list[dict[str, str]], tokenizer: Any, template: str) -> Encoded:
    output = tokenizer.apply_chat_template(
        messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    ids = list(output["input_ids"])
    learned = output["assistant_masks"]
    return ids, [token if mask else MASKED for token, mask in zip(ids, learned, strict=True)]


def _without_end(ids: list[int], end: int) -> list[int]:
    """Ids without the end token that some tokenizers put behind every text."""
    return ids[:-1] if ids and ids[-1] == end else ids
