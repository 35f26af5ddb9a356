"""The names of the formats of training text; a row as an Alpaca prompt, or as messages.

The Alpaca prompt is a Jinja file in `templates/`; a row's texts are values in it and are never read as a
template themselves. `alpaca` is the format of Stanford Alpaca, which Tag-Evol trains with: the response
follows `### Response:` at once. Its original form knows a single turn; earlier turns of a conversation are
written before the last one with the same headings, and a system turn before everything.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import resources

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import RecipeError
from ..rows import Row

ALPACA = "alpaca"
CHAT_TEMPLATES = ("llama2", "mistral", "llama3", "qwen2.5", "chatml")  # of which only the last response is learned
MESSAGES = "messages"  # the chat template's assistant turns, all of them
FORMATS = (ALPACA, *CHAT_TEMPLATES, MESSAGES)


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


def prompt_text(row: Row) -> str:
    """Everything before the response in the Alpaca format, as the model sees it in training and when it is asked."""
    extra = row.get("input") or ""
    return _alpaca().render(
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


@cache
def _alpaca() -> Template:
    source = resources.files(__package__).joinpath("templates", "alpaca.jinja").read_text("utf-8")
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source)
