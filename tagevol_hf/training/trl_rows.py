"""Rows in the two forms that TRL's own trainer tokenizes: `prompt`/`completion` text, or `messages`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets import Dataset, Features, List, Value

from ..errors import RecipeError
from ..rows import MESSAGE, Row
from .chat_templates import adds_bos, packaged
from .formats import ALPACA, CHAT_TEMPLATES, messages_of, prompt_text

PAIR_FEATURES = Features({"id": Value("string"), "prompt": Value("string"), "completion": Value("string")})
MESSAGES_FEATURES = Features({"id": Value("string"), "messages": List(MESSAGE)})


def to_prompt_completion(dataset: Dataset, format_name: str = ALPACA, tokenizer: Any = None) -> Dataset:
    """Columns `id`, `prompt`, `completion`, without the tokens that TRL and the tokenizer put around them.

    Args:
        dataset: Rows of a curated set.
        format_name: "alpaca" or a named chat template.
        tokenizer: Of the model; a named chat template needs it for the names of its tokens.

    Raises:
        RecipeError: If the format has no prompts, or the tokenizer is missing.
    """
    if format_name == ALPACA:

        def convert(row: Row) -> dict[str, str]:
            return {"id": row["id"], "prompt": prompt_text(row), "completion": row["response"] or ""}

    elif format_name not in CHAT_TEMPLATES:
        prompts = ", ".join((ALPACA, *CHAT_TEMPLATES))
        raise RecipeError(f"format: {format_name!r} has no prompts, expected one of {prompts}")
    elif tokenizer is None:
        raise RecipeError(f"format: {format_name} needs the tokenizer; give it as the third argument")
    else:

        def convert(row: Row) -> dict[str, str]:
            prompt, completion = _chat_pair(row, packaged(format_name), tokenizer)
            return {"id": row["id"], "prompt": prompt, "completion": completion}

    return _mapped(dataset, convert, PAIR_FEATURES)


def to_messages(dataset: Dataset) -> Dataset:
    """Columns `id` and `messages`, several turns staying several turns."""

    def convert(row: Row) -> dict[str, Any]:
        return {"id": row["id"], "messages": messages_of(row)}

    return _mapped(dataset, convert, MESSAGES_FEATURES)


def _chat_pair(row: Row, template: str, tokenizer: Any) -> tuple[str, str]:
    """Prompt and completion as the template writes them, less the first and the last token, which are added later."""
    turns = messages_of(row)
    prompt = tokenizer.apply_chat_template(
        turns[:-1], chat_template=template, tokenize=False, add_generation_prompt=True
    )
    whole = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
    completion = whole[len(prompt) :].rstrip("\n").removesuffix(tokenizer.eos_token)
    return prompt.removeprefix(tokenizer.bos_token) if adds_bos(tokenizer) else prompt, completion


def _mapped(dataset: Dataset, convert: Callable[[Row], dict[str, Any]], features: Features) -> Dataset:
    """A map without a cache: a changed template always shows, and a run folder stays clean."""
    return dataset.map(
        convert,
        remove_columns=dataset.column_names,
        features=features,
        load_from_cache_file=False,
        keep_in_memory=True,
    )
