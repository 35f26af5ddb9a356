"""Rows in the two forms that TRL trains on: `prompt`/`completion` text, or `messages`.

A prompt template is a Jinja file in `templates/`; a row's texts are values in it and are never read as a
template themselves. `alpaca` is the format of Stanford Alpaca, which Tag-Evol trains with: the response
follows `### Response:` at once. Its original form knows a single turn; earlier turns of a conversation are
written before the last one with the same headings, and a system turn before everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from datasets import Dataset, Features, List, Value
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import RecipeError
from ..rows import MESSAGE, Row

MESSAGES = "messages"  # the tokenizer's own chat template
TEMPLATES = ("alpaca",)
FORMATS = (*TEMPLATES, MESSAGES)

PAIR_FEATURES = Features({"id": Value("string"), "prompt": Value("string"), "completion": Value("string")})
MESSAGES_FEATURES = Features({"id": Value("string"), "messages": List(MESSAGE)})


def check_format(name: str) -> str:
    """Return `name` if it is one of `FORMATS`.

    Raises:
        RecipeError: If it is not; the message has the nearest name.
    """
    if name in FORMATS:
        return name
    near = get_close_matches(name, FORMATS, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise RecipeError(f"format: {name!r} is not known, expected one of {', '.join(FORMATS)}{hint}")


def prompt_text(row: Row, template: str = "alpaca") -> str:
    """Everything before the response, as the model sees it in training and when it is asked.

    Raises:
        RecipeError: If the template is not known.
    """
    extra = row.get("input") or ""
    return _template(template).render(
        instruction=row["instruction"] or "",
        input=extra if extra.strip() else "",
        history=row.get("history") or [],
    )


def messages_of(row: Row) -> list[dict[str, str]]:
    """The conversation of a row: history, user turn (instruction, blank line, input), response."""
    extra = row.get("input") or ""
    user = f"{row['instruction']}\n\n{extra}" if extra.strip() else row["instruction"]
    turns = [{"role": turn["role"], "content": turn["content"] or ""} for turn in row.get("history") or []]
    turns.append({"role": "user", "content": user or ""})
    return [*turns, {"role": "assistant", "content": row["response"] or ""}]


def to_prompt_completion(dataset: Dataset, template: str = "alpaca") -> Dataset:
    """TRL's prompt-completion form: columns `id`, `prompt`, `completion`, without end-of-sequence tokens.

    Raises:
        RecipeError: If the template is not known.
    """
    _template(template)

    def convert(row: Mapping[str, Any]) -> dict[str, str]:
        return {"id": row["id"], "prompt": prompt_text(row, template), "completion": row["response"] or ""}

    return _mapped(dataset, convert, PAIR_FEATURES)


def to_messages(dataset: Dataset) -> Dataset:
    """TRL's conversational form: columns `id` and `messages`, several turns staying several turns."""

    def convert(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": row["id"], "messages": messages_of(row)}

    return _mapped(dataset, convert, MESSAGES_FEATURES)


def _mapped(dataset: Dataset, convert: Any, features: Features) -> Dataset:
    """A map without a cache: a changed template always shows, and a run folder stays clean."""
    return dataset.map(
        convert,
        remove_columns=dataset.column_names,
        features=features,
        load_from_cache_file=False,
        keep_in_memory=True,
    )


@cache
def _template(name: str) -> Template:
    if name not in TEMPLATES:
        check_format(name)
        raise RecipeError(f"template: {name!r} is no prompt template, expected one of {', '.join(TEMPLATES)}")
    source = resources.files(__package__).joinpath("templates", f"{name}.jinja").read_text("utf-8")
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source)
