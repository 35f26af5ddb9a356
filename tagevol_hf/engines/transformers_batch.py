"""Rows that a model writes side by side: each leaves when it is done, and another takes its place.

Prompts are padded on the left, so that the next token of every row stands in the same column of the cache. A column
that is padding for a row is masked, and a row's positions count from its own first token, so that no row sees how
long the others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad

from ..errors import EngineError, one_line
from .base import Reply, Request
from .transformers_model import empty_memory, is_out_of_memory
from .transformers_prefix import SharedStart, moved_to_the_right
from .transformers_rows import Intake, Row
from .transformers_sampling import next_tokens

_READ_AT_ONCE = 8192  # most tokens of prompts, padding included; bounds the memory that reading them takes
_PATIENCE = 8  # most steps that a row waits for others to be read with, while there is room for it


class Batch:
    """The rows of one stream.

    Args:
        intake: The model that writes them, and what is to be done before and after.
        size: Most rows at once, >= 1; halved when the device's memory is full.
    """

    def __init__(self, intake: Intake, size: int) -> None:
        self.intake = intake
        self.size = size
        self._model = intake.model
        self._waiting: list[Row] = []
        self._waited = 0
        self._rows: list[Row] = []
        self._cache: Any = None
        self._cached: list[Row] = []  # the cache's rows; some may be done
        self._start = SharedStart(self._model)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._rows)

    def add(self, position: int, request: Request) -> list[tuple[int, Reply]]:
        """Have a request answered as soon as there is room; its reply, if it cannot be."""
        row = self.intake.row(position, request)
        if isinstance(row, Reply):
            return [(position, row)]
        self._waiting.append(row)
        return []

    def step(self) -> list[tuple[int, Reply]]:
        """Read some rows' prompts, or write the next token of each row; the replies of rows that are done with it.

        Raises:
            EngineError: If the model fails, or the device's memory does not do for one row.
        """
        try:
            with torch.inference_mode():
                return self._read() if self._time_to_read() else self._write()
        except ArithmeticError as fault:
            raise EngineError(
                f"{self._model.name}: {fault}: the model's numbers overflow, or its weights are damaged; give another "
                "dtype, such as dtype=bfloat16 or dtype=float32"
            ) from fault
        except Exception as fault:  # torch's and the model's own
            if not is_out_of_memory(fault):
                raise EngineError(f"{self._model.name}: the model failed: {one_line(fault)}") from fault
            told = one_line(fault)
        self._make_smaller(told)  # here, where the fault's frames hold no tensors any more
        return []

    def _time_to_read(self) -> bool:
        """Whether enough rows wait: reading one prompt at a time would slow all others down."""
        room = self.size - len(self._rows)
        if not self._waiting or room <= 0:
            return False
        self._waited += 1
        return not self._rows or len(self._waiting) >= self.size // 8 or self._waited > _PATIENCE

    def _read(self) -> list[tuple[int, Reply]]:
        fresh = self._alike()
        start = self._start.count(fresh)
        cache = self._start.cache(start, len(fresh)) if start else self._model.new_cache()
        logits = self._logits(fresh, cache, max(len(row.tokens) for row in fresh) - start, start)
        if start:
            cache = moved_to_the_right(cache, start, self._padding(fresh, cache.get_seq_length()))
        self._leave_out_done()
        self._cache = cache if self._cache is None else _joined(self._cache, cache)
        self._rows += fresh
        self._cached += fresh
        self._waiting = [row for row in self._waiting if row not in fresh]
        self._waited = 0
        return self._extend(fresh, logits)

    def _write(self) -> list[tuple[int, Reply]]:
        self._leave_out_done()
        return self._extend(list(self._rows), self._logits(self._rows, self._cache, 1))

    def _alike(self) -> list[Row]:
        """The first waiting row and others from half to twice its length, as many as there is room for."""
        length = len(self._waiting[0].tokens)
        alike = [row for row in self._waiting if length <= 2 * len(row.tokens) <= 4 * length]
        at_once = _READ_AT_ONCE // max(len(row.tokens) for row in alike)
        return alike[: max(1, min(at_once, self.size - len(self._rows)))]

    def _logits(self, rows: Sequence[Row], cache: Any, width: int, start: int = 0) -> torch.Tensor:
        """What each row may write next, after the last `width` columns, of which none is in the cache.

        The rows' padding stands behind the first `start` columns.
        """
        device = self._model.device
        columns = cache.get_seq_length() + width
        padding, column = self._padding(rows, columns), torch.arange(columns, device=device)
        seen = (column < start) | (column >= start + padding)
        positions = (column[-width:] - padding).clamp(min=0)
        ends = [row.tokens[start:][-width:] for row in rows]
        tokens = torch.tensor([[0] * (width - len(end)) + end for end in ends], device=device)
        return self._model.logits(tokens, seen, positions, cache)

    def _padding(self, rows: Sequence[Row], columns: int) -> torch.Tensor:
        """How many of the columns each row leaves empty: [rows, 1]."""
        return torch.tensor([[columns - len(row.tokens)] for row in rows], device=self._model.device)

    def _extend(self, rows: Sequence[Row], logits: torch.Tensor) -> list[tuple[int, Reply]]:
        """Add a token to each row; the replies of those that are done."""
        self.intake.restrict(logits, rows)
        tokens = next_tokens(logits, [row.drawing for row in rows], [row.written for row in rows])
        done: dict[Row, Reply] = {}
        for row, token in zip(rows, tokens, strict=True):
            reply = self.intake.extended(row, token)
            if reply is not None:
                done[row] = reply
        self._rows = [row for row in self._rows if row not in done]
        return [(row.position, reply) for row, reply in done.items()]

    def _leave_out_done(self) -> None:
        """Take rows that are done out of the cache, and columns that are padding for all that stay."""
        if len(self._cached) == len(self._rows):
            return
        kept = [place for place, row in enumerate(self._cached) if row in self._rows]
        self._cached = list(self._rows)
        if not kept:
            self._cache = None
            return
        columns = max(len(row.tokens) for row in self._rows) - 1
        for layer in self._cache.layers:
            layer.keys, layer.values = (part[kept, :, -columns:] for part in (layer.keys, layer.values))

    def _make_smaller(self, told: str) -> None:
        """Forget the cache, and read all rows again with what they have written, fewer at once."""
        rows = min(self.size, len(self))
        self._waiting = self._rows + self._waiting
        self._rows, self._cached, self._cache = [], [], None
        self._start = SharedStart(self._model)
        empty_memory(self._model.device)
        if rows == 1:
            raise EngineError(
                f"{self._model.name}: the memory of {self._model.device} does not do for one request ({told}); give a "
                "smaller max_model_len, dtype=bfloat16, a smaller model or another device"
            )
        self.size = rows // 2


def _joined(cache: Any, other: Any) -> Any:
    """A cache with the rows of both."""
    columns = max(cache.get_seq_length(), other.get_seq_length())
    for layer, added in zip(cache.layers, other.layers, strict=True):
        layer.keys = torch.cat([_widened(layer.keys, columns), _widened(added.keys, columns)])
        layer.values = torch.cat([_widened(layer.values, columns), _widened(added.values, columns)])
    return cache


def _widened(part: torch.Tensor, columns: int) -> torch.Tensor:
    """Keys or values [rows, heads, columns, size] with padding on the left."""
    return pad(part, (0, 0, columns - part.shape[-2], 0))
