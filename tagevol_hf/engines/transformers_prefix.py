"""The start that the prompts of a stage share, read once: what vLLM's prefix cache does there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .transformers_model import LoadedModel
from .transformers_rows import Row

_WORTH_IT = 32  # tokens; a shorter start is read again as fast as it is copied


class SharedStart:
    """Keys and values of the tokens that prompts have begun with lately.

    Args:
        model: What reads them.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._tokens: list[int] = []
        self._cache: Any = None
        self._last: list[int] = []

    def count(self, rows: Sequence[Row]) -> int:
        """How many tokens at the start of all rows need not be read; 0 if too few. Reads a new start if it is long."""
        prompts = [row.tokens[:-1] for row in rows]  # the last token is read by its row, which needs what follows
        kept = common_start([self._tokens, *prompts])
        found = common_start(prompts if len(prompts) > 1 else [self._last, *prompts])
        self._last = prompts[0]
        new = found >= _WORTH_IT and found > 2 * kept
        if new:
            self._read(prompts[0][:found])
            kept = found
        window = self._model.window
        if kept < _WORTH_IT or (window is not None and max(row.longest for row in rows) > window):
            return 0  # in a short window, the padding after the start would count
        for row in rows[new:]:
            row.cached = kept
        return kept

    def cache(self, count: int, rows: int) -> Any:
        """A new cache with the first `count` tokens, for so many rows."""
        cache = self._model.new_cache()
        for index, layer in enumerate(self._cache.layers):
            parts = (part[:, :, :count].expand(rows, -1, -1, -1) for part in (layer.keys, layer.values))
            cache.update(*parts, index)
        return cache

    def _read(self, tokens: list[int]) -> None:
        device, cache = self._model.device, self._model.new_cache()
        ids = torch.tensor([tokens], device=device)
        positions = torch.arange(len(tokens), device=device).unsqueeze(0)
        self._model.logits(ids, torch.ones_like(ids, dtype=torch.bool), positions, cache)
        self._tokens, self._cache = tokens, cache


def common_start(texts: Sequence[list[int]]) -> int:
    """How many tokens all of them begin with."""
    shortest, longest = min(texts), max(texts)  # in the order of a dictionary, these two differ first
    for place, (one, other) in enumerate(zip(shortest, longest, strict=False)):
        if one != other:
            return place
    return min(len(shortest), len(longest))


def moved_to_the_right(cache: Any, start: int, padding: torch.Tensor) -> Any:
    """A cache whose rows have their padding [rows, 1] before their start of so many columns, and not behind it."""
    columns = torch.arange(cache.get_seq_length(), device=padding.device)
    places = torch.where(columns < start + padding, (columns - padding).clamp(min=0), columns)
    for layer in cache.layers:
        layer.keys, layer.values = (
            part.gather(2, places[:, None, :, None].expand(-1, part.shape[1], -1, part.shape[3]))
            for part in (layer.keys, layer.values)
        )
    return cache
