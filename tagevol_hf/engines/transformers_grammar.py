"""JSON schemas as masks over the vocabulary, by llguidance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from ..errors import EngineError, MissingExtraError
from .base import Schema

_KEPT = 256  # schemas whose grammar is kept compiled


class Grammars:
    """The grammars of schemas, for one tokenizer.

    Args:
        name: What to call the engine in errors.
        tokenizer: A fast tokenizer of transformers.
        vocabulary: Width of the model's logits.
        end: The token that ends a reply.

    Raises:
        EngineError: If the tokenizer cannot be used.
        MissingExtraError: If llguidance is not installed.
    """

    def __init__(self, name: str, tokenizer: Any, vocabulary: int, end: int) -> None:
        self._api = _import_llguidance()
        width = max(vocabulary, len(tokenizer))
        try:
            self._tokenizer = self._api.hf.from_tokenizer(tokenizer, n_vocab=width, eos_token=end)
        except Exception as fault:  # llguidance's own, and those of a tokenizer without the parts that it needs
            told = " ".join(str(fault).split())
            raise EngineError(
                f"{name}: llguidance cannot read the model's tokenizer, which structured output needs: {told}"
            ) from fault
        self._threads = self._api.LLExecutor()
        self._compiled = lru_cache(_KEPT)(self._compile)

    def matcher(self, schema: Schema) -> Any:
        """A new matcher for one reply, without white space between the parts of the JSON text.

        Raises:
            ValueError: If the schema cannot be kept; the message says why.
        """
        return self._compiled(json.dumps(schema)).deep_copy()

    def restrict(self, logits: torch.Tensor, matchers: Sequence[Any | None]) -> None:
        """Set to -inf what the rows' grammars forbid next. None stands for a row without one."""
        bound = [(matcher, row) for row, matcher in enumerate(matchers) if matcher is not None]
        if not bound:
            return
        masks = self._api.numpy.allocate_token_bitmask(len(matchers), self._tokenizer.vocab_size)
        self._api.numpy.fill_next_token_bitmask_par(self._threads, bound, masks)
        words = torch.from_numpy(masks).to(logits.device)
        bits = torch.arange(32, dtype=torch.int32, device=logits.device)
        allowed = (words.unsqueeze(-1) >> bits & 1).flatten(1)[:, : logits.shape[-1]]
        logits.masked_fill_(allowed == 0, float("-inf"))

    def _compile(self, schema: str) -> Any:
        api = self._api.LLMatcher
        # Where the grammar allows white space, a greedy model can write it without end.
        grammar = api.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
        matcher = api(self._tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(why(matcher))
        return matcher


def why(matcher: Any) -> str:
    """What a matcher says about its error, in one line and without its inner state."""
    return " ".join(str(matcher.get_error()).partition("<state>")[0].split())[:500]


def _import_llguidance() -> Any:
    try:
        import llguidance.hf
        import llguidance.numpy
    except ImportError as fault:
        raise MissingExtraError("llguidance", "transformers") from fault
    return llguidance
