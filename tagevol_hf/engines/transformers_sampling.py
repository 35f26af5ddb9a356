"""The next token of each row, drawn so that it depends on its own row alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .base import Sampling

_NO_NUMBER = -1
_LIKELY = 256  # the likeliest tokens, which nearly always hold the nucleus; sorting a whole vocabulary is slow
_FAR_APART = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio


@dataclass(frozen=True)
class Drawing:
    """How the tokens of one row are drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: In (0, 1].
        seed: With the number of the token it gives the token's noise.
    """

    temperature: float
    top_p: float
    seed: int

    @classmethod
    def of(cls, sampling: Sampling, draw: int) -> Drawing:
        """What a request asks for. Where it has no seed, the number of the draw is its seed.

        Raises:
            ValueError: If a value is out of its range.
        """
        if not sampling.temperature >= 0:
            raise ValueError(f"temperature must be at least 0, got {sampling.temperature}")
        if not 0 < sampling.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {sampling.top_p}")
        return cls(sampling.temperature, sampling.top_p, draw if sampling.seed is None else sampling.seed)

    def noise_seed(self, token: int) -> int:
        """The generator's seed for one token: far apart for near seeds, so that two rows share no noise."""
        return (self.seed * _FAR_APART + token) % 2**63


def next_tokens(logits: torch.Tensor, drawings: Sequence[Drawing], written: Sequence[int]) -> list[int]:
    """One token a row.

    A drawn token is the one whose probability over exponential noise is greatest. The noise comes from the row's seed
    and the number of the token alone, and rounding that differs with the batch changes the token about once in a
    million.

    Args:
        logits: Float32 [rows, vocabulary], with -inf for what a grammar forbids.
        drawings: One a row.
        written: Tokens that each row has written before.

    Raises:
        ArithmeticError: If a row's logits are not numbers.
    """
    best, chosen = logits.max(dim=-1)
    drawn = [row for row, drawing in enumerate(drawings) if drawing.temperature > 0]
    if drawn:
        chosen[drawn] = _draw(logits[drawn], [drawings[row] for row in drawn], [written[row] for row in drawn])
    tokens: list[int] = torch.where(best.isfinite(), chosen, _NO_NUMBER).tolist()
    if _NO_NUMBER in tokens:
        raise ArithmeticError("the logits are not numbers")
    return tokens


def _draw(logits: torch.Tensor, drawings: Sequence[Drawing], written: Sequence[int]) -> torch.Tensor:
    from_best = logits - logits.amax(dim=-1, keepdim=True)  # no overflow at a temperature near 0
    shares = (from_best / logits.new_tensor([[drawing.temperature] for drawing in drawings])).softmax(dim=-1)
    shares = _nucleus(shares, logits.new_tensor([[drawing.top_p] for drawing in drawings]))
    noise, generator = torch.empty_like(shares), torch.Generator(shares.device)
    for row, drawing, token in zip(noise, drawings, written, strict=True):
        row.exponential_(generator=generator.manual_seed(drawing.noise_seed(token)))
    return (shares / noise).argmax(dim=-1)


def _nucleus(shares: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Only the likeliest tokens that together reach `top_p`; equally likely ones stay or leave together."""
    if bool((top_p >= 1).all()):
        return shares
    for count in (min(_LIKELY, shares.shape[-1]), shares.shape[-1]):
        likely = shares.topk(count, dim=-1).values
        reached = likely.cumsum(dim=-1)
        if bool(((reached[:, -1:] >= top_p) | (top_p >= 1)).all()):
            break
    kept = (reached - likely < top_p).sum(dim=-1, keepdim=True)
    least = likely.gather(-1, kept - 1).masked_fill(top_p >= 1, 0.0)
    return shares.masked_fill(shares < least, 0.0)
