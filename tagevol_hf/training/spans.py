"""From a rendered conversation to token ids and labels, by the characters that are learned.

A token is learned if it writes a learned character. Where a token would reach from the prompt into the reply, the two
are tokenized apart, so that the prompt's tokens are those that the model is asked with. A special token's name inside
a text of the data is plain text: it is never read as the token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from ..errors import DataError, RecipeError
from .veiled import Pieces, encode_plainly, encode_veiled, going_on, special_names

MASKED = -100  # the label that PyTorch's cross entropy leaves out

Encoded = tuple[list[int], list[int]]
Messages = list[dict[str, str]]

# With its indentation, which Jinja leaves out before a tag as transformers calls it.
_TAG = re.compile(r"(?:^[ \t]*)?\{%(-?)(\s*)(end)?(generation\b)", re.MULTILINE)
_PRIVATE = range(0xF0000, 0x10FFFE)  # characters without a meaning, for marks that no text holds


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text.

    Attributes:
        text: All of it.
        learned: One byte a character, 1 where the model is to learn it.
        veiled: Whether special tokens go by their other names in it, as the data holds their own.
    """

    text: str
    learned: bytearray
    veiled: bool


def encode_conversations(
    names: Sequence[str], conversations: Sequence[Messages], template: str, tokenizer: Any, turns: str
) -> list[Encoded]:
    """Ids and labels of conversations written by a chat template.

    Args:
        names: Of the conversations, for messages.
        conversations: Messages with `role` and `content`.
        template: A chat template with `{% generation %}` marks.
        tokenizer: A fast tokenizer of transformers.
        turns: "all" learns every assistant turn, "last" the last one only.

    Raises:
        DataError: If the template cannot write a conversation.
        RecipeError: If the tokenizer gives no offsets.
    """
    renderer = _Renderer(conversations, template, tokenizer, turns)
    rendered = [renderer.render(*named) for named in zip(names, conversations, strict=True)]
    try:
        whole = tokenizer([each.text for each in rendered], add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError as error:
        raise RecipeError(f"{tokenizer.name_or_path}: a fast tokenizer is needed (tokenizer.json)") from error
    encoded = []
    for each, ids, offsets in zip(rendered, whole["input_ids"], whole["offset_mapping"], strict=True):
        encode = renderer.encoder(each)
        if each.veiled:
            ids, offsets = encode(each.text)
        cuts = [_border(each.learned, *offset) for offset in offsets if _reaches_in(each.learned, *offset)]
        encoded.append(_encode_apart(each, cuts, encode) if cuts else _labelled(ids, offsets, each.learned))
    return encoded


class _Renderer:
    """Writes conversations with marks around what is learned, then takes the marks out."""

    def __init__(self, conversations: Sequence[Messages], template: str, tokenizer: Any, turns: str) -> None:
        texts = "\n".join(turn["content"] for messages in conversations for turn in messages)
        used = {*texts, *template}
        free = (chr(code) for code in _PRIVATE if chr(code) not in used)
        self._open, self._close = next(free), next(free)
        special = special_names(tokenizer)
        self._held = {name: next(free) for name in special if name in texts}
        self._veil = {name: next(free) for name in special}
        self._template = _TAG.sub(self._mark, template)
        self._tokenizer, self._turns = tokenizer, turns

    def render(self, name: str, messages: Messages) -> Rendered:
        from jinja2.exceptions import TemplateError

        texts = [{**turn, "content": self._hold(turn["content"])} for turn in messages]
        try:
            marked = self._tokenizer.apply_chat_template(texts, chat_template=self._template, tokenize=False)
        except (TemplateError, TypeError) as error:
            roles = ", ".join(turn["role"] for turn in messages)
            raise DataError(f"row {name!r}: the chat template cannot write its turns ({roles}): {error}") from error
        veiled = any(character in marked for character in self._held.values())
        return self._taken_out(self._veiled(marked) if veiled else marked, veiled)

    def encoder(self, rendered: Rendered) -> Callable[[str], Pieces]:
        """How its text, or a part of it, becomes ids."""
        if rendered.veiled:
            return partial(encode_veiled, tokenizer=self._tokenizer, names=self._veil)
        return partial(encode_plainly, tokenizer=self._tokenizer)

    def _mark(self, tag: re.Match[str]) -> str:
        """The tag with a mark before it, which takes over what the tag does to white space on its left."""
        dash, space, end, name = tag.groups(default="")
        return f'{{{{{dash} "{self._close if end else self._open}" }}}}{{%{space}{end}{name}'

    def _hold(self, text: str) -> str:
        for name, character in self._held.items():
            text = text.replace(name, character)
        return text

    def _veiled(self, text: str) -> str:
        """The template's special tokens by their other names, the data's own words as they are."""
        for name, character in self._veil.items():
            text = text.replace(name, character)
        for name, character in self._held.items():
            text = text.replace(character, name)
        return text

    def _taken_out(self, marked: str, veiled: bool) -> Rendered:
        parts = re.split(f"[{self._open}{self._close}]", marked)  # learned parts are those with an odd number
        last = len(parts) - 2 if self._turns == "last" else 1
        learned = bytearray()
        for place, part in enumerate(parts):
            learned.extend((b"\1" if place % 2 and place >= last else b"\0") * len(part))
        return Rendered("".join(parts), learned, veiled)


def _labelled(ids: Sequence[int], offsets: Sequence[tuple[int, int]], learned: bytearray) -> Encoded:
    labels = [token if 1 in learned[start:end] else MASKED for token, (start, end) in zip(ids, offsets, strict=True)]
    return list(ids), labels


def _reaches_in(learned: bytearray, start: int, end: int) -> bool:
    """Whether a token begins before a reply and ends inside it."""
    return end - start > 1 and not learned[start] and bool(learned[end - 1])


def _border(learned: bytearray, start: int, end: int) -> int:
    return learned.index(1, start, end)


def _encode_apart(rendered: Rendered, cuts: Sequence[int], encode: Callable[[str], Pieces]) -> Encoded:
    """The text in pieces, so that no token reaches over a cut."""
    ids: list[int] = []
    labels: list[int] = []
    for start, end in pairwise([0, *cuts, len(rendered.text)]):
        text = rendered.text[start:end]
        more_ids, more_labels = _labelled(
            *(going_on(text, encode) if start else encode(text)), rendered.learned[start:end]
        )
        ids += more_ids
        labels += more_labels
    return ids, labels
