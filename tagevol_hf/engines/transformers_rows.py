"""From a request to a row of tokens, and from a row that is done to its reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import one_line
from .base import FinishReason, Reply, Request, failed
from .transformers_grammar import Grammars, why
from .transformers_model import LoadedModel
from .transformers_sampling import Drawing

_HALF_A_CHARACTER = "\ufffd"  # where a reply is cut between the bytes of one; vLLM leaves it out, too


@dataclass(eq=False)
class Row:
    """One request that is being answered.

    Attributes:
        position: The request's place in its stream.
        tokens: The prompt, and what is written so far.
        prompt: Tokens of the prompt.
        longest: Most tokens that it may have in the end.
        drawing: How its tokens are drawn.
        matcher: Its grammar's state, or None.
        cached: Tokens of the prompt that another row has read before.
    """

    position: int
    tokens: list[int]
    prompt: int
    longest: int
    drawing: Drawing
    matcher: Any | None
    cached: int = 0

    @property
    def written(self) -> int:
        """Tokens of the reply so far."""
        return len(self.tokens) - self.prompt


class Intake:
    """Makes rows of requests, and replies of rows.

    Attributes:
        model: The model that answers them.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._grammars: Grammars | None = None

    def row(self, position: int, request: Request) -> Row | Reply:
        """A row, or a reply with an error if the request cannot be answered."""
        model, most = self.model, request.sampling.max_tokens
        try:
            tokens = model.tokens(request)
        except Exception as fault:  # templates raise errors of their own, such as "roles must alternate"
            return failed("refused_request", f"the chat template refused the messages: {one_line(fault)}")
        if len(tokens) >= model.longest:
            told = f"the prompt has {len(tokens)} tokens; the model's context has {model.longest}"
            return failed("prompt_too_long", told)
        if not tokens:
            return failed("refused_request", "the chat template made an empty prompt")
        if most < 1:
            return failed("refused_request", f"max_tokens must be at least 1, got {most}")
        try:
            drawing = Drawing.of(request.sampling, request.draw)
            matcher = None if request.schema is None else self._all_grammars().matcher(request.schema)
        except (ValueError, TypeError) as fault:
            return failed("refused_request", one_line(fault))
        return Row(position, tokens, len(tokens), min(len(tokens) + most, model.longest), drawing, matcher)

    def restrict(self, logits: torch.Tensor, rows: Sequence[Row]) -> None:
        """Set to -inf what the rows' grammars forbid next."""
        if self._grammars is not None:
            self._grammars.restrict(logits, [row.matcher for row in rows])

    def extended(self, row: Row, token: int) -> Reply | None:
        """Add a token to a row; its reply if it is done."""
        row.tokens.append(token)
        matcher = row.matcher
        if token in self.model.ends:
            if matcher is not None and not matcher.is_accepting():
                return _unkept(matcher)
            return self._reply(row, "stop", row.tokens[row.prompt : -1])
        if matcher is not None and (not matcher.consume_token(token) or matcher.is_error()):
            return _unkept(matcher)
        if matcher is not None and matcher.is_stopped():  # the JSON text is whole
            return self._reply(row, "stop", row.tokens[row.prompt :])
        if len(row.tokens) == row.longest:
            return self._reply(row, "length", row.tokens[row.prompt :])
        return None

    def _reply(self, row: Row, finish_reason: FinishReason, tokens: Sequence[int]) -> Reply:
        text = self.model.text(tokens)
        return Reply(
            text=text if finish_reason == "stop" else text.rstrip(_HALF_A_CHARACTER),
            finish_reason=finish_reason,
            prompt_tokens=row.prompt,
            completion_tokens=row.written,
            cached_tokens=min(row.cached, row.prompt),
        )

    def _all_grammars(self) -> Grammars:
        if self._grammars is None:
            model = self.model
            self._grammars = Grammars(model.name, model.tokenizer, model.vocabulary, model.end)
        return self._grammars


def _unkept(matcher: Any) -> Reply:
    """For a grammar that is too complex to go on with, which llguidance finds out on the way."""
    return failed("refused_request", f"the reply cannot be kept to the schema: {why(matcher)}")
