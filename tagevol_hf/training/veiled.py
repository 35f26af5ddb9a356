"""A tokenizer whose special tokens go by other names, so that their own names in a text are text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Pieces = tuple[list[int], list[tuple[int, int]]]  # ids, and the characters (first, last + 1) that each writes


def special_names(tokenizer: Any) -> list[str]:
    """Names of the special tokens that the tokenizer finds in a text, longest first."""
    names = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(names, key=lambda name: (-len(name), name))


def encode_plainly(text: str, tokenizer: Any) -> Pieces:
    """Ids of a text as it is; nothing is added, and special tokens are found."""
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return found["input_ids"], found["offset_mapping"]


def encode_veiled(text: str, tokenizer: Any, names: Mapping[str, str]) -> Pieces:
    """Ids of a text in which special tokens go by other names; their own names in it are plain text.

    Args:
        text: With a name of `names` where a special token is meant.
        tokenizer: A fast tokenizer of transformers.
        names: Special token → one character.
    """
    found = _renamed(tokenizer, tuple(names.items())).encode(text, add_special_tokens=False)
    return found.ids, found.offsets


def going_on(text: str, encode: Callable[[str], Pieces]) -> Pieces:
    """Ids of a text that follows another one, without the space that SentencePiece puts in front of a first word.

    Args:
        text: What follows.
        encode: Gives the pieces of a text that stands alone.
    """
    for before in ("\n", "|", "a"):  # one of them does not grow together with the text
        alone, both = encode(before), encode(before + text)
        count = len(alone[0])
        if both[0][:count] == alone[0]:
            return both[0][count:], [(start - 1, end - 1) for start, end in both[1][count:]]
    return encode(text)


@lru_cache(maxsize=4)
def _renamed(tokenizer: Any, names: tuple[tuple[str, str], ...]) -> Any:
    from tokenizers import Tokenizer

    other = dict(names)
    body = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in body["added_tokens"]:
        token["content"] = other.get(token["content"], token["content"])
    model = body["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {other.get(piece, piece): number for piece, number in model["vocab"].items()}
    else:  # pairs of a piece and its score
        model["vocab"] = [[other.get(piece, piece), score] for piece, score in model["vocab"]]
    if unknown := model.get("unk_token"):
        model["unk_token"] = other.get(unknown, unknown)
    body["post_processor"], body["truncation"], body["padding"] = None, None, None
    return Tokenizer.from_str(json.dumps(body))
