"""Texts that the vocabulary of a model lacks: to the model they are all alike, so they must not get its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_SHARE = 10  # one token in so many


def unknown_texts(texts: Sequence[str], tokenizer: Any) -> npt.NDArray[np.bool_]:
    """Which of the texts are made of unknown tokens to a tenth or more, or have no token at all.

    In a short text, as a tag, one unknown token is enough; in a long one it says little.

    Args:
        texts: Any texts.
        tokenizer: Of the library transformers or tokenizers; None, or one without a token for the unknown, as those
            that fall back to bytes, knows every text.
    """
    mark = _mark(tokenizer)
    if mark is None or not texts:
        return np.zeros(len(texts), dtype=np.bool_)
    if hasattr(tokenizer, "encode_batch"):
        found = [each.ids for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    else:
        found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return np.array([len(ids) <= _SHARE * list(ids).count(mark) for ids in found], dtype=np.bool_)


def _mark(tokenizer: Any) -> int | None:
    """Number of the token that stands for the unknown."""
    if hasattr(tokenizer, "unk_token_id"):
        number: int | None = tokenizer.unk_token_id
        return number
    token = getattr(getattr(tokenizer, "model", None), "unk_token", None)
    return None if token is None else tokenizer.token_to_id(token)
