"""A model that is being trained, as an engine: its answers in the middle of a training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..engines.base import Reply, Request, failed


class LiveEngine:
    """Answers with `generate` of a model in memory, batch by batch.

    The random state of the training is left as it was, so that a training with evaluations ends with the same weights
    as one without.

    Args:
        model: A causal model of transformers, perhaps with PEFT; not wrapped.
        tokenizer: Its tokenizer, with a chat template.
        batch_size: Requests at a time, at least 1.

    Attributes:
        identity: Of no use, since a model in training changes: its replies belong into no lasting store.
    """

    identity = "live"

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 8) -> None:
        self._model, self._tokenizer, self._batch_size = model, tokenizer, batch_size

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`."""
        numbered = iter(enumerate(requests))
        while batch := list(itertools.islice(numbered, self._batch_size)):
            for alike in _alike([(place, request) for place, request in batch]):
                yield from self._answer(alike)

    def close(self) -> None:
        """The model is the trainer's: nothing is freed."""

    def _answer(self, batch: Sequence[tuple[int, Request]]) -> Iterator[tuple[int, Reply]]:
        """Answer requests with the same sampling together."""
        longest = self._longest()
        prompts = [self._tokens(request) for _, request in batch]
        fitting = [place for place, tokens in enumerate(prompts) if len(tokens) < longest]
        for place, (position, _) in enumerate(batch):
            if place not in fitting:
                yield position, failed("prompt_too_long", f"{len(prompts[place])} of {longest} tokens")
        if not fitting:
            return
        sampling = batch[0][1].sampling
        most = min(sampling.max_tokens, longest - max(len(prompts[place]) for place in fitting))
        written = self._generate([prompts[place] for place in fitting], sampling, most)
        for place, tokens in zip(fitting, written, strict=True):
            yield batch[place][0], self._reply(prompts[place], tokens, most)

    def _generate(self, prompts: Sequence[list[int]], sampling: Any, most: int) -> list[list[int]]:
        """The new tokens of each prompt, padding and end included."""
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._pad)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for place, tokens in enumerate(prompts):
            ids[place, width - len(tokens) :] = torch.tensor(tokens)
            mask[place, width - len(tokens) :] = 1
        drawn: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if sampling.temperature > 0:
            drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        device = self._model.device
        with torch.random.fork_rng(), _evaluating(self._model), torch.no_grad():
            torch.manual_seed(sampling.seed or 0)
            output = self._model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=most,
                pad_token_id=self._pad,
                eos_token_id=self._tokenizer.eos_token_id,
                use_cache=True,
                **drawn,
            )
        return [list(row) for row in output[:, width:].tolist()]

    def _reply(self, prompt: list[int], tokens: list[int], most: int) -> Reply:
        end = self._tokenizer.eos_token_id
        ended = end in tokens
        tokens = tokens[: tokens.index(end)] if ended else tokens
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        cut = not ended and len(tokens) >= most
        return Reply(text, "length" if cut else "stop", len(prompt), len(tokens))

    def _tokens(self, request: Request) -> list[int]:
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        found = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
        return list(found)

    def _longest(self) -> int:
        config = self._model.config.get_text_config(decoder=True)
        return int(getattr(config, "max_position_embeddings", 0) or 1_000_000)

    @property
    def _pad(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad is None else pad)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """The model without dropout while the block runs."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _alike(batch: Sequence[tuple[int, Request]]) -> list[list[tuple[int, Request]]]:
    """Requests with the same sampling together; a drawn reply alone, since it has a seed of its own."""
    greedy: dict[int, list[tuple[int, Request]]] = {}
    drawn = []
    for entry in batch:
        sampling = entry[1].sampling
        if sampling.temperature > 0:
            drawn.append([entry])
        else:
            greedy.setdefault(sampling.max_tokens, []).append(entry)
    return [*greedy.values(), *drawn]
