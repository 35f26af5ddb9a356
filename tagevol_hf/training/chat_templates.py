"""Chat templates that say what is learned, for models whose own do not.

`templates/chat/` has LLaMA-2's, Mistral-7B v0.1's, Llama-3's and Qwen2.5's forms, ChatML, and the Alpaca form as a
chat. In each, `{% generation %}` stands around exactly what the model is to write: the text of an assistant's turn
and the token that ends it (with the space that SentencePiece models write before a first word).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, RecipeError
from .formats import ALPACA, CHAT_TEMPLATES, MESSAGES, check_format
from .spans import MASKED, encode_conversations

GIVE_ONE = f"name one by chat_template_path: {', '.join(CHAT_TEMPLATES)} or a .jinja file"

_BOS = '{{- bos_token | default("", true) }}'
_USER, _ASSISTANT = {"role": "user", "content": "One?"}, {"role": "assistant", "content": "1"}
_PROBES = (
    [_USER],
    [_USER, _ASSISTANT],
    [_USER, _ASSISTANT, _USER, _ASSISTANT, _USER],
    [{"role": "system", "content": "Be brief."}, _USER, _ASSISTANT],
)


def give_template(tokenizer: Any, format_name: str, path: str | None = None) -> None:
    """Give the tokenizer the chat template that goes with a format, and the end token that is learned with it.

    Args:
        tokenizer: A fast tokenizer of transformers; its `chat_template` and `eos_token` are set.
        format_name: One of `formats.FORMATS`. A named chat template is taken as it is; `messages` takes `path`, or
            else the tokenizer's own; `alpaca` takes the Alpaca form, so that a chat API asks the trained model as it
            was trained.
        path: A named template or a Jinja file, for `messages`.

    Raises:
        RecipeError: If the format is not known, the two contradict each other, or the tokenizer cannot serve.
        MissingExtraError: If TRL is needed for the template and is not installed.
    """
    check_format(format_name)
    if path is not None and format_name != MESSAGES:
        raise RecipeError(
            f"chat_template_path: {path!r} is for format: messages, and this is format: {format_name}; leave one out"
        )
    if format_name != MESSAGES:
        name, template = format_name, packaged(format_name)
    elif path is not None:
        name, template = path, named_template(path)
    else:
        name, template = "of the tokenizer", training_template(tokenizer)
    if not marks_replies(template):
        raise RecipeError(f"{path}: the template does not mark the replies with {{% generation %}}; {GIVE_ONE}")
    check_tokens(tokenizer, template, name)
    if format_name != ALPACA:
        tokenizer.eos_token = _end_token(tokenizer, template, name)
    if format_name == ALPACA and not adds_bos(tokenizer):
        template = template.replace(_BOS, "")
    if path is not None or format_name != MESSAGES:
        tokenizer.chat_template = template  # else its own writes the same, and may do more (tools)


@cache
def packaged(name: str) -> str:
    """The text of a packaged template: one of `CHAT_TEMPLATES`, or "alpaca"."""
    return resources.files(__package__).joinpath("templates", "chat", f"{name}.jinja").read_text("utf-8")


def named_template(path: str) -> str:
    """The text of a packaged template or of a Jinja file.

    Raises:
        RecipeError: If it is neither.
    """
    if path in CHAT_TEMPLATES:
        return packaged(path)
    file = Path(path)
    if file.suffix in (".jinja", ".j2") and file.is_file():
        return file.read_text("utf-8")
    near = get_close_matches(path, CHAT_TEMPLATES, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise RecipeError(
        f"chat_template_path: expected {', '.join(CHAT_TEMPLATES)} or a .jinja file that is there, got {path!r}{hint}"
    )


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer puts its first token before a text by itself."""
    return tokenizer.bos_token_id is not None and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]


def marks_replies(template: str) -> bool:
    """Whether a template says by `{% generation %}` what is learned."""
    return re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None


def training_template(tokenizer: Any) -> str:
    """The tokenizer's own chat template, or one that writes the same text and says what is learned.

    Raises:
        RecipeError: If there is no template, or none that says it.
        MissingExtraError: If TRL, which has some more of them, is not installed.
    """
    where = f"{tokenizer.name_or_path}: format messages"
    own = tokenizer.chat_template
    own = own.get("default") if isinstance(own, dict) else own
    if not own:
        raise RecipeError(f"{where} needs a chat template and the tokenizer has none; {GIVE_ONE}")
    if marks_replies(own):
        return str(own)
    for name in CHAT_TEMPLATES:
        if _writes_the_same(tokenizer, own, packaged(name)):
            return packaged(name)
    try:
        from trl.chat_template_utils import get_training_chat_template
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train") from error
    try:
        return str(get_training_chat_template(tokenizer))
    except ValueError as error:
        raise RecipeError(
            f"{where}: the chat template does not mark the replies with {{% generation %}}; {GIVE_ONE}"
        ) from error


def check_tokens(tokenizer: Any, template: str, name: str) -> None:
    """Make sure that what a template writes as special tokens are tokens of this tokenizer.

    Args:
        tokenizer: A fast tokenizer of transformers.
        template: Its text.
        name: What to call it in a message.

    Raises:
        RecipeError: With the first token that is missing.
    """
    known = tokenizer.get_added_vocab()
    for token in re.findall(r"<\|\w+\|>", template):
        if token not in known:
            raise RecipeError(
                f"{tokenizer.name_or_path}: the template {name} writes {token}, which is no token of this model; "
                "take the template that belongs to it, or format: alpaca, which needs none"
            )
    if re.search(r"\beos_token\b", template) and tokenizer.eos_token_id is None:
        raise RecipeError(
            f"{tokenizer.name_or_path}: the tokenizer has no end-of-sequence token, so the model would never "
            "learn to stop; name one of its tokens with eos_token: <token>"
        )
    if re.search(r"\bbos_token\b(?! \| default)", template) and tokenizer.bos_token_id is None:
        raise RecipeError(
            f"{tokenizer.name_or_path}: the template {name} begins with a token that this tokenizer has not "
            "(bos_token); take the template that belongs to the model"
        )


def _end_token(tokenizer: Any, template: str, name: str) -> str:
    """The special token that ends a reply and is learned with it."""
    [(_, labels)] = encode_conversations(["probe"], [[_USER, _ASSISTANT]], template, tokenizer, "all")
    learned = [label for label in labels if label != MASKED]
    while learned and not tokenizer.decode(learned[-1:]).strip():  # some templates learn a line break behind it
        learned.pop()
    token = tokenizer.convert_ids_to_tokens(learned[-1]) if learned else None
    if token not in tokenizer.get_added_vocab():
        raise RecipeError(
            f"{tokenizer.name_or_path}: the chat template {name} leaves the end of a reply unmarked, so the model "
            f"would never learn to stop; {GIVE_ONE}"
        )
    return str(token)


def _writes_the_same(tokenizer: Any, one: str, other: str) -> bool:
    return all(
        _written(tokenizer, one, probe, prompt) == _written(tokenizer, other, probe, prompt) is not None
        for probe in _PROBES
        for prompt in (False, True)
    )


def _written(tokenizer: Any, template: str, messages: list[dict[str, str]], prompt: bool) -> str | None:
    from jinja2.exceptions import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
    except (TemplateError, TypeError, ValueError):
        return None
    return str(text)
