"""A causal language model in this process that tells how likely texts are; owns torch and transformers here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import EngineError, MissingExtraError, one_line

try:
    import torch
    import transformers
except ImportError as _fault:
    raise MissingExtraError(_fault.name or "transformers", "transformers") from _fault

_LOGITS_AT_ONCE = {"cpu": 2**27, "cuda": 2**29}  # numbers in memory, tokens × vocabulary; 2**27 are 512 MiB of float32
_NO_LIMIT = 1_000_000  # tokens; a tokenizer without a limit says 1e30

Tokens = Sequence[int]


class LanguageModel:
    """A causal model from a folder or the Hub: float32 on a CPU, bfloat16 on a GPU.

    A value does not depend on the texts beside it, but for rounding: the padding stands behind each text, where a
    causal model does not see it. Weights are read from safetensors only, and a model's own code is not run.

    Args:
        model: Folder, or Hub id.
        batch_size: Most texts read at once, >= 1; fewer where they are long.

    Attributes:
        context: Most tokens of a text.
        start: What the tokenizer puts before every text: a token, or none.

    Raises:
        EngineError: If it cannot be loaded, or weights are missing from its files.
        MissingExtraError: If torch or transformers is not installed.
    """

    def __init__(self, model: str | Path, *, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise EngineError(f"language model {str(model)!r}: batch_size must be at least 1, got {batch_size}")
        self.name = str(model)
        self.batch_size = batch_size
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            with _no_progress_bars():
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(self.name)
                self._model = self._loaded()
        except EngineError:
            raise
        except Exception as fault:  # whatever a broken file makes the many parts raise
            why = one_line(fault)
            raise EngineError(
                f"language model {self.name!r}: cannot be loaded: {why}; name a folder or a Hub id"
            ) from fault
        self._model.to(self._device).eval()
        config = self._model.config.get_text_config(decoder=True)
        self._vocabulary = int(config.vocab_size)
        first = self._tokenizer.bos_token_id
        self.start = [first] if first is not None and first in self._tokenizer.encode("") else []
        limits = (getattr(config, "max_position_embeddings", None), self._tokenizer.model_max_length)
        self.context = int(min((limit for limit in limits if limit and limit < _NO_LIMIT), default=_NO_LIMIT))

    def tokens(self, text: str) -> list[int]:
        """Tokens of a text, after the tokenizer's start token where it has one."""
        return self.start + self.tokens_after(text)

    def tokens_after(self, text: str) -> list[int]:
        """Tokens of a text that goes on behind another one, without special tokens."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return found

    def losses(self, texts: Sequence[tuple[Tokens, int]]) -> list[float]:
        """Mean negative log-likelihood, in nats a token, of the tokens of each text from a position on.

        Args:
            texts: (tokens, first position that counts); a text's first token is never predicted, so that a position
                of 0 means 1.

        Returns:
            One value a text; NaN where no token is left to predict.
        """
        found = [math.nan] * len(texts)
        for part in self._batches([tokens for tokens, _ in texts]):
            logits = self._logits([texts[place][0] for place in part])
            for row, place in enumerate(part):
                tokens, first = texts[place]
                first = max(1, first)
                if first < len(tokens):
                    seen = logits[row, first - 1 : len(tokens) - 1].float()
                    aim = torch.tensor(tokens[first:], device=seen.device)
                    found[place] = float(torch.nn.functional.cross_entropy(seen, aim))
        return found

    def next_logits(self, texts: Sequence[Tokens], choices: Sequence[int]) -> list[list[float]]:
        """Logits of some tokens as the next one after each text (which is not empty)."""
        found: list[list[float]] = [[] for _ in texts]
        for part in self._batches(texts):
            logits = self._logits([texts[place] for place in part])
            for row, place in enumerate(part):
                found[place] = logits[row, len(texts[place]) - 1, list(choices)].float().tolist()
        return found

    def _loaded(self) -> Any:
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        loaded, told = transformers.AutoModelForCausalLM.from_pretrained(
            self.name, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        if told["missing_keys"]:  # transformers would fill them with random numbers
            first = min(told["missing_keys"])
            raise EngineError(f"language model {self.name!r}: its files lack weights, such as {first}; get them again")
        return loaded

    def _batches(self, texts: Sequence[Tokens]) -> Iterator[list[int]]:
        """Places of the texts, those of near lengths together, the longest first."""
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        room = _LOGITS_AT_ONCE[self._device.type] // self._vocabulary  # tokens
        start = 0
        while start < len(order):
            longest = max(1, len(texts[order[start]]))
            count = max(1, min(self.batch_size, room // longest))
            yield order[start : start + count]
            start += count

    def _logits(self, texts: Sequence[Tokens]) -> Any:
        """[texts, tokens of the longest, vocabulary]."""
        width = max(1, *(len(text) for text in texts))
        tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=self._device)
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=self._device)
        with torch.inference_mode():
            return self._model(input_ids=tokens, attention_mask=mask, use_cache=False).logits


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
